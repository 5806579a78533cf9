# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A DICOMweb server as it should be, and as it should not: over real HTTP on this machine."""

from __future__ import annotations

import logging
import time

import pydicom
import pytest
from service_stubs import ultrasound
from stub_server import StubServer

pytest.importorskip("dicomweb_client", reason="needs the extra 'dicom'")

from pe_monai.services import retry  # noqa: E402
from pe_monai.services.dicomweb import DICOMwebServer, Instance  # noqa: E402
from pe_monai.services.login import TOKEN_VARIABLE, check_url, is_exposed, open_session, read_login  # noqa: E402
from pe_monai.services.retry import ServerError, with_retries  # noqa: E402

STUDY = "1.2.3.4"


@pytest.fixture
def stub():
    with StubServer() as server:
        yield server


def connect(stub: StubServer, tmp_path, password: str = "geheim", **arguments) -> DICOMwebServer:
    file = tmp_path / "password"
    file.write_text(password + "\n")
    session = open_session(read_login("reader", str(file), None))
    return DICOMwebServer(stub.url(), session, **{"timeout": 3, **arguments})


def patience(fault: object) -> dict[str, float]:
    return {"timeout": 0.4} if fault == "silent" else {}  # what answers may be late on a busy machine


def instance(dataset: pydicom.Dataset) -> Instance:
    return Instance(dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)


def test_finds_ultrasound_only(stub, tmp_path):
    clips = [ultrasound(STUDY, seed) for seed in range(3)]
    capture = ultrasound(STUDY, 9, sop_class="1.2.840.10008.5.1.4.1.1.7")
    other = ultrasound("1.2.3.5", 1)
    other.Modality = "CT"
    stub.add(*clips, capture, other)
    server = connect(stub, tmp_path)
    assert server.find_studies({"StudyDate": "20240101-"}) == [STUDY]
    assert server.find_studies({"StudyDate": "20250101-"}) == []
    assert [found.uid for found in server.find_instances(STUDY)] == sorted(clip.SOPInstanceUID for clip in clips)
    assert server.find_instances("1.2.3.5") == []


@pytest.mark.parametrize("paging", [True, False])
def test_pages(stub, tmp_path, monkeypatch, paging):
    monkeypatch.setattr("pe_monai.services.dicomweb.PAGE", 2)
    stub.paging = paging
    stub.add(*(ultrasound(f"1.2.3.{number}") for number in range(5)))
    assert len(connect(stub, tmp_path).find_studies({})) == 5


def test_object_arrives_byte_for_byte(stub, tmp_path):
    clip = ultrasound(STUDY)
    stub.add(clip)
    path = connect(stub, tmp_path).retrieve(instance(clip), tmp_path / "clip.dcm")
    assert path.read_bytes() == stub.archives["main"][clip.SOPInstanceUID]


@pytest.mark.parametrize(
    ("fault", "words", "lasting"),
    [
        (401, "refused the login", True),
        (404, "answered 404", True),
        (500, "answered 500", False),
        ("half", "ended the connection early", False),
        ("short", "broke off", False),
        ("silent", "no answer in time", False),
        ("html", "sent text/html", True),
    ],
)
def test_faults_of_retrieval(stub, tmp_path, fault, words, lasting):
    clip = ultrasound(STUDY)
    stub.add(clip)
    stub.faults["retrieve"] = [fault]
    with pytest.raises(ServerError, match=words) as error:
        connect(stub, tmp_path, **patience(fault)).retrieve(instance(clip), tmp_path / "clip.dcm")
    assert error.value.lasting == lasting
    assert STUDY not in str(error.value)
    assert error.value.__cause__ is None  # nothing that quotes the address


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (401, "refused the login"),
        (503, "answered 503"),
        ("half", "ended the connection early"),
        ("short", "something else than DICOM JSON"),
        ("silent", "no answer in time"),
        ("html", "something else than DICOM JSON"),
    ],
)
def test_faults_of_search(stub, tmp_path, fault, words):
    stub.faults["search"] = [fault]
    with pytest.raises(ServerError, match=words):
        connect(stub, tmp_path, **patience(fault)).find_studies({})


def test_wrong_login_and_nobody_there(stub, tmp_path):
    with pytest.raises(ServerError, match="refused the login") as error:
        connect(stub, tmp_path, password="falsch").find_studies({})
    assert "falsch" not in str(error.value)
    with StubServer() as gone:
        server = connect(gone, tmp_path)
    with pytest.raises(ServerError, match="cannot be reached"):
        server.find_studies({})


@pytest.mark.parametrize("fault", ["slow", "slow head"])
@pytest.mark.parametrize("kind", ["retrieve", "search"])
def test_answer_that_drips_ends(stub, tmp_path, monkeypatch, kind, fault):
    monkeypatch.setattr("pe_monai.services.deadline.LONGEST", 1)
    stub.faults[kind] = [fault]
    server, start = connect(stub, tmp_path), time.monotonic()
    with pytest.raises(ServerError, match="answer in time"):
        if kind == "search":
            server.find_studies({})
        else:
            server.retrieve(Instance(STUDY, STUDY, STUDY), tmp_path / "clip.dcm")
    assert time.monotonic() - start < 5


def test_object_larger_than_allowed_or_another(stub, tmp_path):
    clip, other = ultrasound(STUDY, frames=2000), ultrasound(STUDY, 1)
    stub.add(clip)
    with pytest.raises(ServerError, match="larger than"):
        connect(stub, tmp_path, size_limit=1000).retrieve(instance(clip), tmp_path / "clip.dcm")
    stub.archives["main"][other.SOPInstanceUID] = stub.archives["main"][clip.SOPInstanceUID]
    with pytest.raises(ServerError, match="another object"):
        connect(stub, tmp_path).retrieve(instance(other), tmp_path / "clip.dcm")


def test_stores_once(stub, tmp_path):
    paths = [tmp_path / f"{seed}.dcm" for seed in range(2)]
    for seed, path in enumerate(paths):
        ultrasound(STUDY, seed).save_as(path, enforce_file_format=True)
    server = connect(stub, tmp_path)
    for _ in range(2):
        assert list(server.send(paths)) == [(path, None) for path in paths]
    assert sorted(stub.stored["main"].values()) == [1, 1]
    for data, path in zip(stub.archives["main"].values(), paths, strict=True):
        assert data == path.read_bytes()


def test_refused_and_failing_store(stub, tmp_path):
    path = tmp_path / "1.dcm"
    ultrasound(STUDY).save_as(path, enforce_file_format=True)
    server = connect(stub, tmp_path)
    stub.faults["store"] = [409]
    assert "0xA900" in next(iter(server.send([path])))[1]
    stub.faults["store"] = [500]
    with pytest.raises(ServerError, match="answered 500"):
        list(server.send([path]))
    stub.faults["ask"] = [403]  # may store, may not ask
    assert list(server.send([path])) == [(path, None)]


@pytest.mark.parametrize(("fault", "words"), [("html", "did not say"), ("list", "cannot be read")])
def test_answer_that_confirms_no_store(stub, tmp_path, fault, words):
    clip, path = ultrasound(STUDY), tmp_path / "clip.dcm"
    clip.save_as(path, enforce_file_format=True)
    stub.faults["store"] = [fault]
    server = connect(stub, tmp_path)
    with pytest.raises(ServerError, match=words) as error:
        list(server.send([path]))
    assert not error.value.lasting
    assert list(server.send([path])) == [(path, None)]


def test_bearer_token_from_the_environment(stub, tmp_path, monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "geheim")
    server = DICOMwebServer(stub.url(), open_session(read_login(None, None, None)))
    assert server.find_studies({}) == []


def test_netrc_and_proxy_are_not_used(stub, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login reader password geheim\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with pytest.raises(ServerError, match="refused the login"):
        DICOMwebServer(stub.url(), open_session(None)).find_studies({})


@pytest.mark.parametrize("url", ["ftp://host/", "host/dicom-web", "http://me:secret@host/", "http://host/?key=1"])
def test_addresses_refused(url):
    with pytest.raises(ServerError) as error:
        check_url(url)
    assert "secret" not in str(error.value)


def test_exposed_links():
    assert is_exposed("http://pacs/x", False) and is_exposed("https://pacs/x", True)
    assert not is_exposed("http://localhost:8042/x", False) and not is_exposed("https://pacs/x", False)


def test_retries_are_bounded(monkeypatch, caplog):
    waits: list[float] = []
    monkeypatch.setattr(retry.time, "sleep", waits.append)
    answers = iter([ServerError("passing"), ServerError("passing"), "done"])

    def ask():
        answer = next(answers)
        if isinstance(answer, ServerError):
            raise answer
        return answer

    with caplog.at_level(logging.WARNING):
        assert with_retries(ask) == "done"
    assert waits == [1, 2]

    def fail(lasting: bool):
        calls.append(1)
        raise ServerError("no", lasting)

    for lasting, expected in ((False, 4), (True, 1)):
        calls: list[int] = []
        with pytest.raises(ServerError):
            with_retries(lambda lasting=lasting: fail(lasting))
        assert len(calls) == expected
