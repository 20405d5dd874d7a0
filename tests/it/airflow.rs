//! The example DAGs in a real Airflow.
