mod build;
mod corpus;
mod follow;
mod inputs;
mod segments;
mod snapshots;
