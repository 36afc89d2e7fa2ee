"""The cost model against values worked out by hand and against its limits."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace

import pytest
from launcher import ROOT, run_tool
from tool_modules import load_tool, parse

from agvm_mm.launch.errors import LaunchError
from lab.scaling import collectives
from lab.scaling.cluster import Cluster, Link, read_cluster
from lab.scaling.model import (
    SCHEMES,
    Workload,
    epoch_time,
    mean_step,
    overlapped,
    step_cost,
    training_time,
)
from lab.scaling.published import COMPARISONS, compare, implied_compute, with_compute

FLAT = Cluster(
    name='one GPU a node',
    gpus_per_node=1,
    inside=Link(0.0, 1e9),
    between=Link(5e-6, 192e9),
    memory=1e12,
    call=0.0,
    seconds_per_step=0.0,
    seconds_per_image=0.1,
)
NODES = replace(FLAT, gpus_per_node=8, inside=Link(1e-6, 240e9))
FREE = replace(NODES, inside=Link(0.0, math.inf), between=Link(0.0, math.inf), memory=math.inf)
GRADIENT = 41_527_712 * 4


def test_a_flat_ring_and_tree_of_768():
    assert collectives.ring(FLAT, 768, GRADIENT) == pytest.approx(9.398e-3, rel=1e-3)
    assert collectives.tree(FLAT, 768, GRADIENT) == pytest.approx(1.826e-3, rel=1e-3)


def test_hops_within_and_between_nodes_are_counted_apart():
    # 16 GPUs on 2 nodes, no bytes: 13 hops inside and 2 between, there and back.
    assert collectives.ring(NODES, 16, 0) == pytest.approx(2 * (13 * 1e-6 + 2 * 5e-6))
    # 32 GPUs on 4 nodes: 7 hops on the node, 2 levels of nodes, up and down.
    assert collectives.tree(NODES, 32, 0) == pytest.approx(2 * (7 * 1e-6 + 2 * 5e-6))
    # One node knows nothing of the network between nodes.
    assert collectives.ring(NODES, 8, 240e9) == pytest.approx(2 * 7 * 1e-6 + 2 * 7 / 8)


def test_without_latency_only_the_bandwidth_counts_and_the_reverse():
    fast = replace(NODES, inside=Link(0.0, 240e9), between=Link(0.0, 192e9))
    assert collectives.all_reduce(fast, 64, 192e9) == pytest.approx(2 * 63 / 64)
    assert collectives.to_root(fast, 64, 192e9) == pytest.approx(1.0)
    endless = replace(
        NODES, inside=Link(1e-6, math.inf), between=Link(5e-6, math.inf), memory=math.inf
    )
    assert collectives.all_reduce(endless, 64, 1e12) == collectives.all_reduce(endless, 64, 0)


def test_a_pair_on_two_nodes_has_one_card_of_eight():
    assert collectives.both_ways(NODES, 16, 24e9) == pytest.approx(5e-6 + 1.0)
    assert collectives.both_ways(NODES, 8, 240e9) == pytest.approx(1e-6 + 1.0)


@pytest.mark.parametrize('scheme', SCHEMES)
def test_one_gpu_and_a_free_network_cost_compute_alone(scheme):
    work = Workload(images_per_gpu=2)
    assert step_cost(NODES, work, 1, scheme, estimating=True).total == pytest.approx(0.2)
    assert step_cost(FREE, work, 768, scheme, estimating=True).total == pytest.approx(0.2)
    assert step_cost(FREE, work, 768, scheme, estimating=False).total == pytest.approx(0.2)


def test_what_is_left_of_two_buckets_after_the_backward_pass():
    # Buckets of 1 byte are ready after 2.5 s and 5 s; the tree of two flat nodes takes 2 P / beta.
    work = Workload(parameters=2, element=1, bucket=1, backward=0.5)
    slow = replace(FLAT, between=Link(0.0, 1.0))
    assert overlapped(slow, work, 2, 10.0) == pytest.approx(1.0)  # ring: 2 (1/2) P = 1 s each
    slower = replace(FLAT, between=Link(0.0, 0.25))
    assert overlapped(slower, work, 2, 10.0) == pytest.approx(5.5)  # 2.5 + 4 + 4 - 5


def test_estimates_by_hand_on_two_flat_gpus():
    work = Workload(parameters=1000, tensors=10, modules=3)
    cluster = replace(FLAT, between=Link(1e-3, 1e6), memory=1e6, call=1e-4)

    def extra(scheme: str) -> float:
        return step_cost(cluster, work, 2, scheme, estimating=True).estimate

    # Two hops of 1 ms for any all-reduce here; P = 4000 bytes.
    assert extra('ddp') == 0.0
    assert extra('all_pairs') == pytest.approx(1.5 * (4e-3 + 10 * 1e-4) + 2e-3 + 64e-6)
    # Half of two ranks is one: nothing to reduce.
    assert extra('half_split') == pytest.approx(15 * 4e-3 + 70 * 1e-4 + 2e-3 + 88e-6)
    pair, broadcast = 1e-3 + 4e-3, 1e-3 + 12e-6
    assert extra('authors') == pytest.approx(14 * 4e-3 + 40 * 1e-4 + pair + broadcast)
    # Each of 10 tensors of 400 bytes: two hops and its bytes, after the backward pass.
    other = step_cost(cluster, work, 2, 'authors', estimating=False)
    assert other.exposed == pytest.approx(10 * (2e-3 + 400e-6))


def test_schemes_are_ordered_and_the_interval_dilutes():
    work = Workload()
    for gpus in (8, 64, 768, 4096):
        means = [mean_step(NODES, work, gpus, scheme) for scheme in SCHEMES]
        assert means == sorted(means) and len(set(means)) == len(SCHEMES)
    every = replace(work, interval=1)
    plain = mean_step(NODES, work, 64, 'ddp')
    tenth, whole = (mean_step(NODES, w, 64, 'all_pairs') - plain for w in (work, every))
    assert whole == pytest.approx(10 * tenth)


def test_a_run_is_its_steps():
    work = Workload(images=1000, images_per_gpu=2, epochs=3)
    assert work.iterations(64) == 8  # 1000 / 128, the last one short
    assert epoch_time(FREE, work, 64, 'ddp') == pytest.approx(8 * 0.2)
    assert training_time(FREE, work, 64, 'ddp') == pytest.approx(24 * 0.2)


@pytest.mark.parametrize(
    ('key', 'value', 'allowed'),
    [
        ('bucket', 0.0, 'a positive number'),
        ('epochs', -1.0, 'a positive number'),
        ('images_per_gpu', math.nan, 'a positive number'),
        ('backward', 1.5, 'a number from 0 to 1'),
        ('interval', 0, 'a whole number, at least 1'),
        ('parameters', 0, 'a whole number, at least 1'),
        ('tensors', 2.5, 'a whole number, at least 1'),
    ],
)
def test_a_workload_that_cannot_be_is_refused(key, value, allowed):
    with pytest.raises(ValueError, match=rf'^workload.{key} is {value}; allowed is {allowed}\.$'):
        Workload(**{key: value})


def test_the_tool_takes_fractions(monkeypatch):
    tool = load_tool('lab.scaling_model')
    values = {'epochs': 7.9, 'images_per_gpu': 0.5, 'bucket': 1e6 + 0.5}
    options = [f'--{key.replace("_", "-")}={value}' for key, value in values.items()]
    args = parse(tool, monkeypatch, *options)
    assert {key: getattr(args, key) for key in values} == values


@pytest.mark.parametrize(
    ('option', 'words'),
    [
        ('--interval=0', 'workload.interval is 0; allowed'),
        ('--bucket=0', 'workload.bucket is 0.0; allowed'),
        ('--seconds-per-image=-1', '--seconds-per-image is -1.0; allowed'),
    ],
)
def test_the_tool_refuses_numbers_in_one_sentence(monkeypatch, option, words):
    tool = load_tool('lab.scaling_model')
    parse(tool, monkeypatch, option)
    with pytest.raises(LaunchError, match=words):
        tool.main()


@pytest.mark.parametrize(('known', 'run'), COMPARISONS, ids=lambda r: r.name)
def test_the_implied_compute_time_gives_the_published_time_back(known, run):
    cluster = read_cluster(ROOT / 'lab' / 'clusters' / f'{known.cluster}.yaml')
    found = with_compute(cluster, implied_compute(cluster, known))
    seconds = training_time(found, known.workload, known.gpus, known.scheme)
    assert seconds / 60 == pytest.approx(known.minutes, rel=1e-6)
    assert abs(compare(cluster, known, run).relative) < 0.25


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('gpus_per_node', 0, 'gpus_per_node is 0'),
        ('memory', -1.0, 'memory is -1.0'),
        ('between', {'latency': 1e-6}, 'between has the keys'),
        ('between', {'latency': -1.0, 'bandwidth': 1.0}, 'latency is -1.0'),
        ('speed', 3, 'needed are'),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path, key, value, message):
    link = {'latency': 0.0, 'bandwidth': 1.0}
    values = dict(
        name='x',
        gpus_per_node=1,
        inside=link,
        between=link,
        memory=1.0,
        call=0.0,
        seconds_per_step=0.0,
        seconds_per_image=1.0,
    )
    path = tmp_path / 'cluster.json'
    path.write_text(json.dumps(values))
    assert read_cluster(path).compute(2) == 2.0
    path.write_text(json.dumps({**values, key: value}))
    with pytest.raises(ValueError, match=message):
        read_cluster(path)


def test_a_pickle_is_no_cluster(tmp_path):
    path = tmp_path / 'cluster.pkl'
    path.write_bytes(pickle.dumps(dict(name='x')))
    with pytest.raises(ValueError, match="ends in 'pkl'; allowed are yaml, yml, json"):
        read_cluster(path)


@pytest.mark.parametrize('suffix', ['yaml', 'yml', 'json'])
@pytest.mark.parametrize(
    'tag',
    ['object/apply:os.mkdir [{}]', 'object/new:os.mkdir [{}]', 'object/apply:os.mkdir\nargs: [{}]'],
)
def test_a_cluster_file_runs_nothing(tmp_path, tag, suffix):
    path, marker = tmp_path / f'cluster.{suffix}', tmp_path / 'ran'
    path.write_text('!!python/' + tag.format(marker))
    with pytest.raises(ValueError, match=f'cluster.{suffix} cannot be read as YAML or JSON.$'):
        read_cluster(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    'content', [b'name: [', b'\xff', b'{"a": ' + b'[' * 100_000, b'a: 1\n b: 2']
)
def test_a_broken_file_is_one_sentence(tmp_path, content):
    path = tmp_path / 'cluster.yaml'
    path.write_bytes(content)
    with pytest.raises(ValueError, match='cluster.yaml cannot be read as YAML or JSON.$'):
        read_cluster(path)


def test_the_tool_prints_and_draws(tmp_path):
    out = tmp_path / 'figure'
    printed = run_tool('lab.scaling_model', '--gpus', 8, 64, '--out', out)
    assert printed.split()[-2:] == [f'{out}.png', f'{out}.svg']
    assert 'AGVM paper, batch 1536' in printed
    assert out.with_suffix('.png').read_bytes().startswith(b'\x89PNG')
    assert out.with_suffix('.svg').stat().st_size > 10_000


def test_the_tool_names_a_missing_file(tmp_path):
    printed = run_tool('lab.scaling_model', tmp_path / 'none.yaml', fails=True)
    assert 'none.yaml' in printed and 'Traceback' not in printed
