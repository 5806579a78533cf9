# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights come back as they were, and nothing else gets in."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import pickle

import pytest
import torch
from torch import nn

from pe_monai.errors import WeightsError
from pe_monai.weights import hash_file, load_weights, record_hash, save_weights, save_whole, sha256_of


def network(features: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(4, features), nn.BatchNorm1d(features))


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


@pytest.fixture
def saved(tmp_path):
    net = network()
    return net, tmp_path / "models/model.pt", save_weights(net, tmp_path / "models/model.pt")


class Evil:
    """Pickles into a call that makes a folder."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def test_what_is_saved_is_loaded_and_hashed(saved):
    net, path, digest = saved
    other = network()
    assert not equal(net, other)
    assert load_weights(other, path) == digest == hashlib.sha256(path.read_bytes()).hexdigest() == sha256_of(path)
    assert equal(net, other)


def test_the_hash_lies_beside_in_the_format_of_sha256sum(saved):
    _, path, digest = saved
    assert hash_file(path).read_text() == f"{digest}  model.pt\n"
    assert sorted(file.name for file in path.parent.iterdir()) == ["model.pt", "model.pt.sha256"]


def test_a_kill_leaves_no_weights_with_the_hash_of_others(saved, monkeypatch):
    def die(path):
        raise KeyboardInterrupt

    _, path, _ = saved
    other = network()
    monkeypatch.setattr("pe_monai.weights.record_hash", die)
    with pytest.raises(KeyboardInterrupt):
        save_weights(other, path)
    loaded = network()
    load_weights(loaded, path)
    assert equal(loaded, other)


def test_a_changed_file_is_refused_before_it_is_read(saved):
    net, path, _ = saved
    save_whole(network(5).state_dict(), path)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(WeightsError, match="model.pt: its SHA-256.*model.pt.sha256 says otherwise"):
        load_weights(net, path)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    record_hash(path)
    load_weights(network(5), path)
    hash_file(path).write_text("")
    with pytest.raises(WeightsError, match="says otherwise"):
        load_weights(network(5), path)


def test_weights_without_a_hash_load_with_a_warning(saved, caplog):
    _, path, _ = saved
    hash_file(path).unlink()
    with caplog.at_level(logging.WARNING):
        load_weights(network(), path)
    assert "no recorded hash" in caplog.text


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("inside", ["alone", "beside weights"])
def test_pickled_code_is_refused_and_never_runs(saved, tmp_path, inside):
    net, path, _ = saved
    marker = tmp_path / "marker"
    content = Evil(marker) if inside == "alone" else {**net.state_dict(), "extra": Evil(marker)}
    for write in (lambda: torch.save(content, path), lambda: path.write_bytes(pickle.dumps(content))):
        write()
        record_hash(path)
        with pytest.raises(WeightsError, match="model.pt: this is no file of weights"):
            load_weights(net, path)
        assert not marker.exists()
    pickle.loads(pickle.dumps(Evil(marker)))
    assert marker.exists(), "the test's own evil must be able to do harm"


def _whole_file() -> bytes:
    buffer = io.BytesIO()
    torch.save(network().state_dict(), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"hello world", b"PK\x03\x04", b"\x80\x02.", bytes(1000), _whole_file()[:500], _whole_file()[:-30]],
    ids=["empty", "letter", "text", "zip mark", "bare pickle", "zeros", "start", "nearly whole"],
)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_what_is_no_weights_file_is_named(tmp_path, content):
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="model.pt: this is no file of weights") as caught:
        load_weights(network(), path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[1, 2], 3, None, torch.rand(3), {}, {"weight": torch.rand(3)}, {1: torch.rand(3)}])
def test_other_content_belongs_to_another_network(tmp_path, content):
    path = tmp_path / "model.pt"
    torch.save(content, path)
    with pytest.raises(WeightsError, match="model.pt: these weights belong to another network"):
        load_weights(network(), path)


def test_weights_of_another_shape_are_refused_in_one_line(saved):
    _, path, _ = saved
    with pytest.raises(WeightsError, match="another network.*size mismatch") as caught:
        load_weights(network(7), path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    for path in (tmp_path / "absent.pt", tmp_path):
        with pytest.raises(WeightsError, match=f"{path.name}: no such weights file"):
            load_weights(network(), path)


@pytest.mark.parametrize("existing", [None, b"old"])
def test_an_interrupted_save_leaves_what_was_there(tmp_path, existing, monkeypatch):
    path = tmp_path / "model.pt"
    if existing:
        path.write_bytes(existing)

    def interrupted(content, file):
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(OSError, match="no space"):
        save_whole({}, path)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([existing] if existing else [])


def test_halves_that_killed_trainings_left_go_with_the_next_checkpoint(tmp_path):
    nobody = 2**22 + 1  # more than Linux numbers processes to
    names = (f"{nobody}-last.pt", f"{os.getppid()}-last.pt", f"{nobody}-best.pt")
    killed, at_work, other = (tmp_path / f".partial-{name}" for name in names)
    for path in (killed, at_work, other):
        path.write_bytes(b"half")
    save_whole({}, tmp_path / "last.pt")
    assert {path.name for path in tmp_path.iterdir()} == {"last.pt", at_work.name, other.name}


def test_what_the_disk_says_is_said(tmp_path):
    resource = pytest.importorskip("resource", reason="no limits here")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))  # as a full disk, torch would say "unexpected pos"
    try:
        with pytest.raises(OSError, match="File too large"):
            save_whole(torch.zeros(1 << 20), tmp_path / "model.pt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())
