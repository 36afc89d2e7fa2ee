"""Scalars of a run: values on a device are read when somebody looks, and all at once."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from torch.overrides import TorchFunctionMode

from agvm_mm.wrappers.log import LIMIT, MessageHubLog


class Reads(TorchFunctionMode):
    """Counts the calls that bring numbers to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func in (torch.Tensor.tolist, torch.Tensor.item, torch.Tensor.cpu)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def log() -> tuple[MessageHubLog, MessageHub]:
    hub = MessageHub.get_instance('log')
    return MessageHubLog(hub), hub


def test_values_wait_until_one_is_looked_at(log: tuple[MessageHubLog, MessageHub]) -> None:
    report, hub = log
    with Reads() as reads:
        for step in range(3):
            report.scalars(dict(a=torch.tensor(step + 0.5), b=torch.tensor(10 * step), c=step))
        assert reads.count == 0
        assert hub.get_scalar('train/a').current() == 2.5
        assert reads.count == 1
        assert hub.get_scalar('train/b').mean(2) == 15
        assert hub.get_scalar('train/c').data[0].tolist() == [0, 1, 2]
        assert reads.count == 1


def test_numbers_and_tensors_of_one_name_keep_their_order(
    log: tuple[MessageHubLog, MessageHub],
) -> None:
    report, hub = log
    for value in (torch.tensor(1.0), 2.0, torch.tensor(3.0), torch.tensor(4.0), 5.0):
        report.scalars(dict(a=value))
    assert hub.get_scalar('train/a').data[0].tolist() == [1, 2, 3, 4, 5]
    assert hub.get_scalar('train/a').data[1].tolist() == [1] * 5


def test_what_is_dropped_before_it_was_read_is_gone(log: tuple[MessageHubLog, MessageHub]) -> None:
    report, hub = log
    report.scalars(dict(a=torch.tensor(1.0), b=torch.tensor(2.0)))
    report.drop(['a'])
    assert hub.get_scalar('train/b').current() == 2
    assert 'train/a' not in hub.log_scalars


def test_nobody_looks(log: tuple[MessageHubLog, MessageHub]) -> None:
    """Reports on the device do not pile up."""
    report, hub = log
    for step in range(LIMIT + 5):
        report.scalars(dict(a=torch.tensor(float(step))))
        assert len(report._unread) <= LIMIT
    assert hub.get_scalar('train/a').data[0].tolist() == list(range(LIMIT + 5))


def test_a_checkpoint_holds_histories_of_mmengine(
    log: tuple[MessageHubLog, MessageHub],
) -> None:
    report, hub = log
    report.scalars(dict(a=torch.tensor(1.0)))
    saved = hub.state_dict()['log_scalars']['train/a']
    assert type(saved) is HistoryBuffer and saved.data[0].tolist() == [1]
    lazy = hub.get_scalar('train/a')
    assert type(pickle.loads(pickle.dumps(lazy))) is type(copy.deepcopy(lazy)) is HistoryBuffer
    buffer = io.BytesIO()
    torch.save(dict(scalar=lazy), buffer)
    hub.log_scalars['train/a'] = saved  # as a resume puts it in
    report.scalars(dict(a=torch.tensor(2.0)))
    assert hub.get_scalar('train/a').data[0].tolist() == [1, 2]
