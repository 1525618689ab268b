"""Facts about model, memory and machine are read from where the system keeps them, containers included."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from burnish.measure import machine as m
from burnish.measure.memory import BASE_BYTES, available_bytes, cgroup_bytes, forecast, peak_rss_bytes, total_bytes
from burnish.measure.size import folder_size, model_size

# --- size


def test_a_tensor_shared_by_two_layers_counts_once_and_buffers_count_as_bytes():
    embed, head = nn.Embedding(10, 4), nn.Linear(4, 10, bias=False)
    head.weight = embed.weight
    model = nn.Sequential(embed, head, nn.BatchNorm1d(4))
    # 40 shared, 8 of the norm; its two means are float32 and its counter is one int64
    assert model_size(model) == {"parameters": 48, "bytes": 4 * 48 + 4 * 8 + 8}


def test_storage_shared_without_being_one_parameter_counts_once():
    model = nn.Module()
    model.a = nn.Parameter(torch.zeros(6, 2))
    model.b = nn.Parameter(model.a.detach())
    assert model_size(model)["parameters"] == 12


def test_half_precision_is_half_the_bytes_and_empty_or_meta_tensors_keep_apart():
    assert model_size(nn.Linear(8, 8).bfloat16()) == {"parameters": 72, "bytes": 144}
    with torch.device("meta"):
        assert model_size(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)))["parameters"] == 24


def test_a_folder_is_as_large_as_its_files(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a").write_bytes(b"x" * 10)
    (tmp_path / "sub" / "b").write_bytes(b"x" * 7)
    assert (folder_size(tmp_path), folder_size(tmp_path / "a")) == (17, 10)


# --- memory


def test_the_peak_remembers_what_was_given_back():
    code = (
        "from burnish.measure.memory import peak_rss_bytes as p; before = p(); x = bytearray(200_000_000); "
        "x[::4096] = b'1' * len(x[::4096]); del x; print(p() - before)"
    )
    grown = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert 190_000_000 < grown < 230_000_000


def test_what_is_there_is_less_than_all_there_is():
    assert 0 < available_bytes() < total_bytes()
    assert peak_rss_bytes() < total_bytes()


def container(tmp_path: Path, files: dict[str, str], own: str) -> tuple[Path, Path]:
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "own").write_text(own)
    return tmp_path / "cgroup", tmp_path / "own"


def test_the_tightest_group_of_version_2_counts_and_cached_files_do_not(tmp_path):
    files = {
        "memory.max": "max\n",
        "a/memory.max": "1000\n",
        "a/memory.current": "700\n",
        "a/memory.stat": "anon 600\ninactive_file 100\n",
        "a/b/memory.max": "5000\n",
        "a/b/memory.current": "10\n",
    }
    assert cgroup_bytes(*container(tmp_path, files, "0::/a/b\n")) == (1000, 600)


def test_version_1_has_a_tree_a_controller_and_its_huge_number_is_no_limit(tmp_path):
    files = {
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/memory.usage_in_bytes": "5\n",
        "memory/job/memory.limit_in_bytes": "2000\n",
        "memory/job/memory.usage_in_bytes": "500\n",
    }
    root, own = container(tmp_path, files, "4:memory:/job\n1:cpu:/\n0::/\n")
    assert cgroup_bytes(root, own) == (2000, 500)
    own.write_text("4:memory:/\n0::/\n")
    assert cgroup_bytes(root, own) == (None, None)


def test_a_path_of_the_host_falls_back_on_the_mounted_root(tmp_path):
    files = {"memory.max": "800\n", "memory.current": "300\n"}
    assert cgroup_bytes(*container(tmp_path, files, "0::/docker/deadbeef\n")) == (800, 300)


def test_no_control_groups_at_all(tmp_path):
    assert cgroup_bytes(tmp_path / "none", tmp_path / "neither") == (None, None)


@pytest.mark.parametrize(("quota", "expected"), [("max 100000", None), ("150000 100000", 2), ("50000 100000", 1)])
def test_a_quota_cuts_the_cores(tmp_path, monkeypatch, quota, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert m.cores(*container(tmp_path, {"a/cpu.max": quota}, "0::/a\n")) == (expected or 8)


def test_a_quota_of_version_1_cuts_the_cores(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    files = {"cpu,cpuacct/a/cpu.cfs_quota_us": "300000", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"}
    root, own = container(tmp_path, files, "1:cpu,cpuacct:/a\n")
    (root / "cpu").symlink_to(root / "cpu,cpuacct")
    assert m.cores(root, own) == 3


TRAIN = """
import os, sys, contextlib, torch
from transformers import BertConfig, BertForSequenceClassification
from burnish.measure.memory import peak_rss_bytes

def train(precision, batch, length, layers, hidden, heads):
    torch.set_num_threads(2)
    model = BertForSequenceClassification(BertConfig(hidden_size=hidden, num_hidden_layers=layers,
        num_attention_heads=heads, intermediate_size=4 * hidden, vocab_size=4000)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    ids, labels = torch.randint(0, 4000, (batch, length)), torch.zeros(batch, dtype=torch.long)
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
        loss.backward(); optimizer.step(); optimizer.zero_grad()
    print(sum(p.numel() for p in model.parameters()), peak_rss_bytes(), flush=True)

for shape in eval(sys.argv[1]):  # a fork each: its peak starts from here, and the imports are paid once
    if os.fork() == 0:
        train(*shape)
        os._exit(0)
    os.wait()
"""


@pytest.mark.slow
def test_the_forecast_of_a_training_run_is_within_30_percent():
    shapes = [("fp32", 24, 64, 4, 320, 5), ("bf16", 8, 160, 4, 384, 12)]
    # transformers warns about things of its own
    run = [sys.executable, "-W", "ignore", "-c", TRAIN, repr(shapes)]
    lines = subprocess.run(run, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()
    for line, (precision, batch, length, layers, hidden, heads) in zip(lines, shapes, strict=True):
        parameters, peak = map(int, line.split())
        shape = {"batch": batch, "length": length, "layers": layers, "hidden": hidden, "heads": heads}
        assert forecast(parameters, **shape, precision=precision) == pytest.approx(peak, rel=0.3)
        assert forecast(parameters, **shape, precision=precision, base=0) == pytest.approx(peak - BASE_BYTES, rel=0.5)
        assert peak > 1.5 * BASE_BYTES  # or the base alone would pass


def test_the_forecast_grows_with_what_costs_memory():
    shape = {"batch": 8, "length": 64, "layers": 4, "hidden": 128, "heads": 4}
    plain = forecast(10_000_000, **shape)
    for more in ({"batch": 16}, {"length": 128}, {"layers": 8}, {"hidden": 256}, {"copies": 1}):
        assert forecast(10_000_000, **(shape | more)) > plain
    assert forecast(10_000_000, **shape, trainable=1000) == plain - 12 * (10_000_000 - 1000)


# --- machine


def test_the_machine_is_json_with_cores_and_memory(tmp_path):
    found = json.loads(json.dumps(m.machine(tmp_path / "not" / "there" / "yet")))
    assert 1 <= found["cores"] <= found["cores_online"]
    assert 0 < found["memory_available_bytes"] < found["memory_bytes"]
    assert found["disk_free_bytes"] > 0
    assert found["cpu"]


@pytest.mark.skipif(not Path("/proc/cpuinfo").is_file(), reason="no /proc/cpuinfo")
def test_flags_are_those_the_processor_lists():
    text = Path("/proc/cpuinfo").read_text()
    listed = set(next(line for line in text.splitlines() if line.lower().startswith(("flags", "features"))).split())
    assert set(m.cpu_flags()) == set(m.FLAGS) & listed


def test_versions_are_read_without_importing_and_absent_is_null(monkeypatch):
    monkeypatch.setattr(m, "PACKAGES", ("numpy", "no-such-package-anywhere"))
    assert m.versions() == {"numpy": __import__("numpy").__version__, "no-such-package-anywhere": None}


def test_bf16_is_called_native_only_when_it_measures_faster(monkeypatch):
    for gain, native in ((2.5, True), (1.3, False), (0.2, False)):
        m.bf16_is_native.cache_clear()
        monkeypatch.setattr(m, "_bf16_gain", lambda torch, gain=gain: gain)
        found, why = m.bf16_is_native()
        assert (found, f"{gain:.1f}" in why) == (native, True)
    m.bf16_is_native.cache_clear()


def test_bf16_is_measured_once_a_process():
    m.bf16_is_native.cache_clear()
    first = m.bf16_is_native()
    assert first is m.bf16_is_native()
    assert m.bf16_is_native.cache_info().misses == 1


def test_bf16_on_devices_that_cannot_be_asked():
    assert m.bf16_is_native("mps")[0] is False
    if not torch.cuda.is_available():
        assert m.bf16_is_native("cuda")[0] is False


def test_measuring_imports_nothing_heavy():
    code = (
        "import sys\nimport burnish.measure.machine as m, burnish.measure.speed, burnish.measure.recompute\n"
        "import burnish.measure.quality, burnish.measure.baselines, burnish.measure.power, burnish.measure.size\n"
        "import burnish.measure.calibration, burnish.measure.agreement\n"
        "m.machine(); m.versions()\n"
        "print([n for n in ('torch', 'sklearn', 'scipy', 'transformers', 'pandas') if n in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
