# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command ``mem3r batch``: many recordings over processes, GPUs or a Ray cluster."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
import os
from pathlib import Path
from queue import SimpleQueue
import shlex
import subprocess
import sys

from mem3r_ros.child_process import end_with_parent

HELP = 'track many recordings, over processes, GPUs or a Ray cluster'
FAILURES, DONE = 'failures.txt', '.done'


@dataclass(frozen=True, slots=True)
class Job:
    """One recording and the folder of its results."""

    path: Path
    output: Path

    @property
    def mark(self) -> Path:
        """Return the file that is made when the recording has been tracked to its end."""
        return self.output.with_name(f'{self.output.name}{DONE}')

    @property
    def log(self) -> Path:
        """Return the file for what the run prints; a run clears its own folder."""
        return self.output.with_name(f'{self.output.name}.log')

    def command(self, extra: list[str]) -> list[str]:
        """Return the command that tracks it."""
        run = [sys.executable, '-m', 'mem3r_ros.cli.main', 'run', str(self.path)]
        return [*run, '--output', str(self.output), *extra]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        'paths',
        metavar='PATH',
        nargs='+',
        help='recordings, folders of recordings, or text files with one path a line',
    )
    parser.add_argument(
        '--output', metavar='DIR', default='batch_output', help='one folder a recording in there'
    )
    parser.add_argument(
        '--jobs', metavar='N', type=int, default=0, help='processes at a time (one a core or GPU)'
    )
    parser.add_argument(
        '--gpus',
        metavar='I,I',
        default='',
        help='GPUs to use in turn, such as 0,1; with --ray: each recording takes one GPU',
    )
    parser.add_argument(
        '--ray',
        metavar='ADDRESS',
        nargs='?',
        const='local',
        help='use a Ray cluster: its address, auto, or nothing for a local one',
    )
    parser.add_argument(
        '--run',
        metavar='ARGUMENTS',
        default='',
        help="arguments of mem3r run for each recording, such as --run='--model mine.safetensors'",
    )


def run(args: argparse.Namespace) -> int:
    """
    Track what is missing; a recording that fails costs one line.

    :return: 0; 2 where a recording failed.
    :raises UserError: a path or a number is of no use.
    """
    from mem3r_ros.errors import UserError
    from mem3r_ros.files import write_text
    from mem3r_ros.threads import usable_cores

    if args.jobs < 0:
        raise UserError(f'--jobs is {args.jobs}; it must be 0 or more')
    gpus = [word for word in args.gpus.split(',') if word]
    jobs = _jobs(args.paths, Path(args.output))
    missing = [job for job in jobs if not job.mark.exists()]
    if len(missing) < len(jobs):
        print(f'{len(jobs) - len(missing)} of {len(jobs)} recordings are done already')
    number = min(args.jobs or len(gpus) or usable_cores(), max(1, len(missing)))
    workers = _on_ray(args.ray, bool(gpus)) if args.ray else _in_processes(number, gpus)
    failures = _track(missing, shlex.split(args.run), workers, number)
    Path(args.output).mkdir(parents=True, exist_ok=True)
    write_text(Path(args.output) / FAILURES, ''.join(f'{line}\n' for line in failures))
    print(f'{len(jobs) - len(failures)} of {len(jobs)} recordings tracked: {args.output}')
    return 2 if failures else 0


def _jobs(given: list[str], output: Path) -> list[Job]:
    """Return the recordings that the paths name, each with a folder of its own."""
    from mem3r_ros.cli.arguments import check_paths
    from mem3r_ros.cli.evaluate import sequences_in
    from mem3r_ros.errors import UserError

    check_paths(given)
    paths: list[Path] = []
    for word in given:
        path = Path(word).expanduser()
        if path.is_file() and path.suffix.lower() in ('.txt', '.list', ''):
            lines = path.read_text(encoding='utf-8').splitlines()
            listed = [line.strip() for line in lines if line.strip() and line[0] != '#']
            paths += [(path.parent / line).resolve() for line in listed]
        else:
            paths += sequences_in(path)
    if not paths:
        raise UserError(f'{", ".join(given)} names no recording')
    jobs: list[Job] = []
    for path in paths:
        name, number = path.resolve().stem if path.is_file() else path.resolve().name, 2
        unique = name
        while any(job.output.name == unique for job in jobs):
            unique, number = f'{name}_{number}', number + 1
        # Workers of a cluster may have another current folder.
        jobs.append(Job(path.absolute(), (output / unique).absolute()))
    return jobs


@dataclass(frozen=True, slots=True)
class Workers:
    """Where commands run."""

    start: Callable[[list[str], Path], Future[int]]  # of a command and the file for its output
    stop: Callable[[], None]  # ends those that run and forgets those that wait


def _in_processes(number: int, gpus: list[str]) -> Workers:
    """Return processes of this machine, so many at a time."""
    pool = ThreadPoolExecutor(number)
    running: set[subprocess.Popen] = set()
    free: SimpleQueue[str] = SimpleQueue()
    for index in range(number):
        free.put(gpus[index % len(gpus)] if gpus else '')

    def work(command: list[str], log: Path) -> int:
        gpu = free.get()
        # Several processes share the cores: one thread each, unless the user says otherwise.
        environment = {'OMP_NUM_THREADS': '1', **os.environ}
        if gpu:
            environment['CUDA_VISIBLE_DEVICES'] = gpu
        process = begin(command, log, environment)
        running.add(process)
        try:
            return process.wait()
        finally:
            running.discard(process)
            free.put(gpu)

    def stop() -> None:
        # Otherwise the program would end only after all recordings that wait for their turn.
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(running):
            process.terminate()

    return Workers(lambda command, log: pool.submit(work, command, log), stop)


def begin(
    command: list[str], log: Path, environment: dict[str, str] | None = None
) -> subprocess.Popen:
    """
    Start a command with its output in a file.

    It ends with this process: a run that goes on would write beside that of a second start.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, 'wb') as file:
        return subprocess.Popen(
            command, stdout=file, stderr=file, env=environment, preexec_fn=end_with_parent()
        )


def execute(command: list[str], log: Path) -> int:
    """Run a command with its output in a file; return its exit code."""
    return begin(command, log).wait()


def _on_ray(address: str, uses_gpus: bool) -> Workers:
    """
    Return the workers of a Ray cluster, which must see the same folders.

    :param address: of the cluster; local: one of this machine.
    :param uses_gpus: whether each recording takes a GPU of the cluster; Ray hides them otherwise.
    :raises UserError: ray is not installed.
    """
    from mem3r_ros.errors import UserError

    try:
        import ray
    except ImportError as error:
        raise UserError('--ray needs another package: pip install ray (mem3r_ros[ray])') from error
    if not ray.is_initialized():
        ray.init(address=None if address == 'local' else address, log_to_driver=False)
    remote = ray.remote(num_cpus=1, num_gpus=int(uses_gpus))(execute)
    return Workers(lambda command, log: remote.remote(command, log).future(), ray.shutdown)


def _track(missing: list[Job], extra: list[str], workers: Workers, number: int) -> list[str]:
    """Start every job, show the progress and return a line for each that failed."""
    from mem3r_ros.reports.progress import progress

    failures = []
    with progress(f'{len(missing)} recordings, {number} at a time', len(missing)) as bar:
        for job, code in _finished(missing, extra, workers):
            if code:
                line = f'{job.path}: {_reason(job.log, code)}'
                print(line, file=sys.stderr)
                failures.append(line)
            else:
                job.mark.touch()
            bar.advance(job.output.name)
    return failures


def _finished(jobs: list[Job], extra: list[str], workers: Workers) -> Iterator[tuple[Job, int]]:
    running = {workers.start(job.command(extra), job.log): job for job in jobs}
    try:
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield running.pop(future), future.result()
    except KeyboardInterrupt:
        workers.stop()
        raise


def _reason(log: Path, code: int) -> str:
    """Return the last line that a failed run has printed."""
    lines = log.read_text(encoding='utf-8', errors='replace').split('\n') if log.exists() else []
    said = [line.strip() for line in lines if line.strip()]
    return said[-1] if said else f'exit code {code}'
