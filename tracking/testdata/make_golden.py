"""Writes the golden record and event of tensorboard_test.go with TensorBoard's own code.

Made with tensorboard 2.21 (python make_golden.py).
"""
import io
import json
import pathlib

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter


class Buffer(io.BytesIO):
    def close(self):
        pass


def record(data):
    b = Buffer()
    RecordWriter(b).write(data)
    return b.getvalue().hex()


event = event_pb2.Event(wall_time=1700000000.25, step=7, summary=summary_pb2.Summary(value=[
    summary_pb2.Summary.Value(tag="loss/total", simple_value=0.75),
    summary_pb2.Summary.Value(tag="rate", simple_value=0.001),
]))
start = event_pb2.Event(wall_time=1700000000.25, step=8, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))
pathlib.Path(__file__).with_name("golden.json").write_text(json.dumps({
    "record of 'must'": record(b"must"),
    "scalars": record(event.SerializeToString(deterministic=True)),
    "start": record(start.SerializeToString(deterministic=True)),
}, indent=1) + "\n")
