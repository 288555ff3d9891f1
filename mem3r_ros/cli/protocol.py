# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The protocol runs of ``mem3r evaluate``: a paper's table beside its published figures."""

from __future__ import annotations

import argparse
from pathlib import Path
import re
import sys
from typing import Any

from mem3r_ros.errors import UserError
from mem3r_ros.evaluation.protocol_run import evaluate_sequence
from mem3r_ros.evaluation.protocol_table import metric_tables, sources
from mem3r_ros.evaluation.protocols import protocol
from mem3r_ros.evaluation.result_store import ResultStore, file_hash
from mem3r_ros.evaluation.tables import print_table
from mem3r_ros.model import update_rule
from mem3r_ros.model.backend import load_backend
from mem3r_ros.model.checkpoints.find import find_weights
from mem3r_ros.reports.length_page import write_length_page
from mem3r_ros.reports.progress import progress

_RANGE = re.compile(r'(\d+)\.\.(\d+)')


def run_protocol(args: argparse.Namespace, config: Any) -> int:
    """
    Score every sequence of a data set and print the figures beside the published ones.

    What an earlier run with the same settings has finished is not computed again.

    :param args: parsed arguments of ``mem3r evaluate``.
    :param config: the settings in force, a RunConfig.
    :return: 0; 2 where a sequence failed.
    :raises UserError: the data set, the model or a setting is of no use.
    """
    chosen = protocol(args.protocol)
    if len(args.paths) != 1:
        raise UserError(f'--protocol takes one PATH, the folder of the data set: {chosen.layout}')
    views = _numbers(args.views, chosen.lengths) if args.views else list(chosen.lengths)
    rules = args.rules.split(',') if args.rules else [config.tracking.update_rule]
    sequences = chosen.find(Path(args.paths[0]))
    settings = {
        'protocol': args.protocol,
        'model': Path(config.model).name,
        'weights_sha256': file_hash(find_weights(config.model)[1]),
        'dtype': config.dtype,
        'views': views,
    }
    store = ResultStore(Path(args.output) / f'{args.protocol}.json', settings)
    network, _ = load_backend(config)
    failed = _score_all(network, rules, chosen, sequences, views, store)
    model = Path(config.model).name
    for table in metric_tables(args.protocol, model, store.rows):
        print_table(table.title, table.columns, table.rows)
    print('\n'.join(sources(args.protocol)))
    page = store.path.with_suffix('.html')
    if store.rows:
        write_length_page(page, args.protocol, model, store.rows)
        print(f'page: {page}')
    print(f'results: {store.path}')
    return 2 if failed else 0


def _numbers(text: str, lengths: tuple[int, ...]) -> list[int]:
    """Return the numbers of views; ``50..1000`` means those of the papers in that range."""
    chosen: set[int] = set()
    for word in text.split(','):
        if match := _RANGE.fullmatch(word.strip()):
            low, high = map(int, match.groups())
            chosen |= {number for number in lengths if low <= number <= high}
        elif word.strip().isdecimal():
            chosen.add(int(word))
        else:
            raise UserError(
                f'--views is {text!r}; give numbers such as 50,200,1000 or a range such as '
                '50..1000'
            )
    numbers = sorted(chosen)
    if not numbers:
        raise UserError(
            f'--views is {text!r}; the papers report {", ".join(map(str, lengths))} views'
        )
    if numbers[0] < 3:
        raise UserError(f'--views is {text!r}; a path needs at least 3 views')
    return numbers


def _score_all(
    network: Any,
    rules: list[str],
    chosen: Any,
    sequences: list[Path],
    views: list[int],
    store: Any,
) -> int:
    """Score what is missing; return the number of sequences that failed."""
    by_rule = {name: update_rule(name) for name in rules}
    failed = 0
    for path in sequences:
        for name, rule in by_rule.items():
            key = f'{path.parent.name}/{path.name} {name}'
            if key in store:
                continue
            try:
                with progress(key, views[-1] * len(chosen.tasks)) as bar:
                    rows = evaluate_sequence(network, rule, chosen, path, views, bar.advance)
            except (ValueError, OSError) as error:  # UserError is a ValueError
                print(f'{key}: {" ".join(str(error).split())}', file=sys.stderr)
                failed += 1
            else:
                store.add(key, [{'sequence': path.name, 'rule': name, **row} for row in rows])
    return failed
