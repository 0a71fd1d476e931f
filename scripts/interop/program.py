"""Runs ockham for the scripts that hold it beside other programs."""
import subprocess


def run_ockham(program, *arguments):
    """What it prints; ends the script where it fails."""
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"ockham {' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}")
    return done.stdout
