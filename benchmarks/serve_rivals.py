"""Servers to compare with, each on the same ONNX file and tokenizer: `python serve_rivals.py NAME ARTIFACT PORT`.

fastapi    what a tutorial shows: one `def` endpoint that tokenises, runs the session and answers
litserve   LitServe with its own batching (needs: pip install litserve)
"""

import json
import sys
from pathlib import Path

import numpy as np

try:
    from litserve import LitAPI
except ImportError:
    LitAPI = object


def _session(folder: Path):
    import onnxruntime
    import tokenizers

    facts = json.loads((folder / "burnish.json").read_text())
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(facts["max_length"])
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    return session, tokenizer, facts


def _feed(encodings, inputs):
    whole = {
        "input_ids": [e.ids for e in encodings],
        "attention_mask": [e.attention_mask for e in encodings],
        "token_type_ids": [e.type_ids for e in encodings],
    }
    return {name: np.array(whole[name], dtype=np.int64) for name in inputs}


def _answer(logits_C: np.ndarray, labels: list[str]) -> dict[str, object]:
    p_C = np.exp(logits_C - logits_C.max())
    best = int(p_C.argmax())
    return {"label": labels[best], "score": float(p_C[best] / p_C.sum())}


def fastapi(folder: Path, port: int) -> None:
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    session, tokenizer, facts = _session(folder)
    app = FastAPI()

    class Body(BaseModel):
        inputs: str

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/predict")
    def predict(body: Body) -> list[dict[str, object]]:
        logits_NC = session.run(None, _feed([tokenizer.encode(body.inputs)], facts["inputs"]))[0]
        return [_answer(logits_NC[0], facts["task"]["labels"])]

    uvicorn.run(app, port=port, log_level="error", access_log=False)


class Api(LitAPI):
    """Sent to a worker process by pickle, so it stands at the top of the module and holds only a path."""

    folder = Path()

    def setup(self, device):
        self.session, self.tokenizer, self.facts = _session(self.folder)
        self.tokenizer.enable_padding(pad_id=self.facts["pad_id"])

    def decode_request(self, request):
        return request["inputs"]

    def predict(self, texts):
        return self.session.run(None, _feed(self.tokenizer.encode_batch(texts), self.facts["inputs"]))[0]

    def encode_response(self, output):
        return [_answer(output, self.facts["task"]["labels"])]


def litserve(folder: Path, port: int) -> None:
    from litserve import LitServer

    api = Api(max_batch_size=32, batch_timeout=0.0)
    api.folder = folder
    server = LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(port=port, log_level="error", generate_client_file=False)


if __name__ == "__main__":
    {"fastapi": fastapi, "litserve": litserve}[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
