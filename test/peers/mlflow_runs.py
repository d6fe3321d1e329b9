"""Trains with MLFLOW_TRACKING_URI set, kills and resumes, and reads the run with MLflow's own client.

    pip install mlflow
    python test/peers/mlflow_runs.py bin/must

It starts `mlflow server` on a free port of this machine. Checked with mlflow 3.17.
"""
import importlib.metadata
import json
import math
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

must = pathlib.Path(sys.argv[1]).resolve()
print("mlflow", importlib.metadata.version("mlflow"))
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
uri = f"http://127.0.0.1:{port}"
with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
         "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--default-artifact-root", str(folder / "artifacts")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        os.environ["MLFLOW_TRACKING_URI"] = uri
        import mlflow
        client = mlflow.MlflowClient()
        for _ in range(300):
            try:
                client.search_experiments()
                break
            except Exception:
                time.sleep(1)
        experiment = client.create_experiment("peers")
        env = os.environ | {"MLFLOW_EXPERIMENT_NAME": "peers"}
        out = folder / "run"
        train = [str(must), "-q", "train", "--format", "scenes", "--subset", "objects", "--count", "200", "--size", "32", "--backbone", "resnet18",
                 "--width", "0.25", "--batch", "8", "--epochs", "3", "--set", "train.eval_every=1", "--out", str(out)]
        first = subprocess.Popen(train, env=env, stdout=subprocess.DEVNULL)
        log = out / "train" / "log.jsonl"
        while first.poll() is None and not (log.exists() and len(log.read_text().splitlines()) > 20):
            time.sleep(0.2)
        first.send_signal(signal.SIGINT)  # finishes its step and ends; the same command goes on
        first.wait()
        runs = client.search_runs([experiment])
        assert len(runs) == 1 and runs[0].info.status == "KILLED", [r.info.status for r in runs]
        subprocess.run(train, env=env, check=True, stdout=subprocess.DEVNULL)
        runs = client.search_runs([experiment])
        assert len(runs) == 1 and runs[0].info.status == "FINISHED", [r.info.status for r in runs]
        run = runs[0]
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        checked = 0
        history = {name: {m.step: m.value for m in client.get_metric_history(run.info.run_id, name)} for name in run.data.metrics}
        for line in lines:
            for prefix, values in (("loss/", line.get("loss", {})), ("score/", line.get("scores", {}))):
                for name, value in values.items():
                    assert math.isclose(history[prefix + name][line["step"]], value, rel_tol=1e-6, abs_tol=1e-9), (line["step"], name)
                    checked += 1
        assert len(history["loss/total"]) == sum("loss" in line for line in lines)
        assert run.data.params, "no settings"
        print(f"{run.info.run_name}: {len(run.data.params)} settings, {len(history)} metrics, {checked} values as in log.jsonl; stopped and resumed as one run")
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
