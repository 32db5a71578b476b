"""Airflow: every hour, what is due. Airflow watches and tries again; the schedule says what is run, in which order."""

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

with DAG(
    dag_id="backhaul",
    schedule="0 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,  # one run makes up for all that were missed
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
):
    BashOperator(
        task_id="run",
        bash_command="backhaul run /srv/backhaul/schedule.yaml --once",
        env={"BACKHAUL_WAREHOUSE": "/srv/backhaul/warehouse"},
        append_env=True,
        execution_timeout=timedelta(hours=3),
    )
