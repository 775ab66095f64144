#!/usr/bin/env python3
"""Stand in for ``sacct`` where there is no accounting database: job states as ``scontrol show job`` knows them.

submitit asks ``sacct -o JobID,State,NodeList --parsable2 -j ID [-j ID]`` whether a job is still alive; without an
answer a canceled job makes a sweep wait for ever. ``scontrol`` forgets a job after ``MinJobAge``.
"""

import argparse
import re
import subprocess


def jobs(identifier: str) -> list[dict[str, str]]:
    """Fields of a job, or of every task of a job array."""
    done = subprocess.run(
        ["scontrol", "--oneliner", "show", "job", identifier], capture_output=True, encoding="utf-8", errors="replace"
    )
    return [dict(re.findall(r"(\w+)=(\S*)", line)) for line in done.stdout.splitlines() if "JobId=" in line]


def column(job: dict[str, str], name: str) -> str:
    """Give one column as sacct would print it."""
    if name == "JobID":
        return f"{job['ArrayJobId']}_{job['ArrayTaskId']}" if "ArrayTaskId" in job else job["JobId"]
    if name == "State":
        return "CANCELLED by 0" if job["JobState"] == "CANCELLED" else job["JobState"]
    return "None assigned" if job.get(name) in (None, "", "(null)") else job[name]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-o", "--format", default="JobID,State,NodeList")
    parser.add_argument("-j", "--jobs", action="append", default=[])
    parser.add_argument("--parsable2", action="store_true")
    options = parser.parse_args()
    columns = options.format.split(",")
    print("|".join(columns))
    asked = [identifier.split(".")[0] for group in options.jobs for identifier in group.split(",")]
    for identifier in dict.fromkeys(asked):
        for job in jobs(identifier):
            print("|".join(column(job, name) for name in columns))


if __name__ == "__main__":
    main()
