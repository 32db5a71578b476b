"""Dagster: every hour, what is due. The schedule file says what is run; its exit code says whether it went well."""

import os
import subprocess

from dagster import Definitions, OpExecutionContext, RetryPolicy, ScheduleDefinition, job, op

COMMAND = "backhaul run /srv/backhaul/schedule.yaml --once"


@op(retry_policy=RetryPolicy(max_retries=2, delay=300))
def run_what_is_due(context: OpExecutionContext) -> None:
    """Run what is due; a step that must go well and fails, fails this one."""
    environment = {**os.environ, "BACKHAUL_WAREHOUSE": "/srv/backhaul/warehouse"}
    done = subprocess.run(COMMAND.split(), env=environment, capture_output=True, text=True, check=False)
    context.log.info(done.stdout + done.stderr)
    done.check_returncode()


@job
def backhaul_job() -> None:
    """Everything on schedule."""
    run_what_is_due()


defs = Definitions(schedules=[ScheduleDefinition(job=backhaul_job, cron_schedule="0 * * * *")])
