mod build;
mod corpus;
mod inputs;
mod segments;
mod snapshots;
