"""What `toolkit doctor` and `toolkit models` tell."""

import json
import re
import shutil
import subprocess
import sys
from importlib.resources import files

import pytest
from click.testing import CliRunner

from hvd.toolkit import doctor, network
from hvd.toolkit.cli import cli


def run(*arguments):
    return CliRunner().invoke(cli, arguments, standalone_mode=False)


def test_a_sound_installation_has_nothing_to_mend():
    result = run("doctor")
    assert result.return_value == 0 and "MEND" not in result.stdout
    for task in ("fragments", "grains", "lines", "objects"):
        assert f"{task}: answered in " in result.stdout


def test_the_thread_pools_and_what_the_promises_rest_on_are_reported():
    call = [sys.executable, "-m", "hvd.toolkit", "doctor"]
    text = subprocess.run(call, capture_output=True, text=True).stdout
    assert re.search(
        r"one thread each \(\w+ \d+(, \w+ \d+)* otherwise\)", text
    ), text
    assert (
        "ok   telemetry of onnxruntime: off" in text
        and "ok   locks: work in" in text
    )
    assert "ok   damaged pictures: refused: JPEG, PNG, TIFF" in text


def test_decoders_that_answer_half_a_picture_are_reported(monkeypatch):
    monkeypatch.setattr(
        doctor, "is_decoded", lambda data: data.startswith(b"II")
    )
    finding = doctor.strict_decoders()
    assert finding.result == "answered: TIFF" and finding.remedy


def test_a_package_that_is_missing_and_one_too_many_are_reported(monkeypatch):
    monkeypatch.setattr(
        doctor,
        "installed_version",
        lambda name: "" if name == "hdbscan" else "5.0",
    )
    outcome = {finding.what: finding for finding in doctor.findings()}
    assert outcome["hdbscan"].result == "missing" and outcome["hdbscan"].remedy
    assert "pip uninstall opencv-python," in outcome["opencv-python"].remedy


def test_a_network_that_fails_is_reported_and_the_others_are_tried(monkeypatch):
    monkeypatch.setattr(doctor.registry, "method", lambda task, name: None)
    outcome = [
        finding
        for finding in doctor.findings()
        if finding.what in doctor.registry.TASKS
    ]
    assert len(outcome) == 4 and all(
        "AttributeError" in finding.result and finding.remedy
        for finding in outcome
    )


@pytest.fixture
def damaged(tmp_path, monkeypatch):
    """Shipped networks, one of which has a changed byte."""
    folder = tmp_path / "checkpoints"
    shutil.copytree(
        files("hvd.checkpoints"),
        folder,
        ignore=shutil.ignore_patterns("*.safetensors", "__pycache__"),
    )
    data = bytearray((folder / "lines.onnx").read_bytes())
    data[1000] ^= 1
    (folder / "lines.onnx").write_bytes(data)
    monkeypatch.setattr(network, "files", lambda package: folder)


def test_a_changed_byte_is_reported(damaged):
    outcome = {finding.what: finding for finding in doctor.findings()}
    assert (
        "not the file that was shipped"
        in outcome["checkpoint lines.onnx"].result
    )
    assert "sound" in outcome["checkpoint grains.onnx"].result
    assert run("models", "verify").exception.status == 3


def test_models_are_listed_with_their_cards_and_hashes():
    listed, verified = (
        run("models", "list").stdout,
        run("models", "verify").stdout,
    )
    for name, entry in network.index().items():
        assert name in listed and f"{entry['sha256']}  {name}" in verified
        assert (
            json.loads(run("models", "card", name).stdout)["task"]
            == entry["task"]
        )
    assert run("models", "card", "magic").exception.status == 2
