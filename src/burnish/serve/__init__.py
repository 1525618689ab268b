"""From a tuned model to answers over HTTP. Nothing is imported here: serving ONNX or OpenVINO stays light.

model ──engines/NAME.build──► artifact folder ──engines/NAME.load──► Predictor
                                    │                                   │
                               burnish.json            predict.Local or app.serve ──► answers

engines    one file a runtime: build its files, load them again
artifact   write and read the folder, hashes and golden rows included
tokens     texts to token ids, from tokenizer.json alone
predict    an artifact as a function in this process; also the offline scorer
batching   the queue in front of an engine: caps, deadlines, batches
app        the HTTP server; protocol, guard, service, wire, limits and metrics are its parts
parity     the same rows through the real server, and which hand-off changed an answer
"""

__all__: list[str] = []
