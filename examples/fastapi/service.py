"""The same service, watched by tidegauge: what was added is marked."""

import json
import time
import uuid

from fastapi import FastAPI, Request

from tidegauge_logger import Logger  # added
from tidegauge_logger.asgi import PredictionLog  # added

MODEL_VERSION = "churn:3"
app = FastAPI()
log = Logger.from_env(model_version=MODEL_VERSION)  # added
app.add_middleware(PredictionLog, logger=log, paths=("/predict",))  # added


def extract_features(payload: dict) -> dict:
    return {"age": payload["age"], "plan": payload["plan"], "visits": payload.get("visits")}


def model_predict(features: dict) -> tuple[int, float]:
    risk = 0.7 if features["plan"] == "basic" else 0.3
    confidence = min(max(risk - 0.02 * (features["visits"] or 0), 0.01), 0.99)
    return int(confidence > 0.5), confidence


@app.post("/predict")
async def predict(request: Request) -> dict:
    began = time.time()
    features = extract_features(await request.json())
    prediction, confidence = model_predict(features)
    record = {
        "ts": began,
        "request_id": str(uuid.uuid4()),
        "model_version": MODEL_VERSION,
        "features_summary": features,
        "prediction": prediction,
        "confidence": confidence,
        "latency_ms": (time.time() - began) * 1000,
    }
    request.state.prediction = record  # added
    print(json.dumps(record), flush=True)
    return {"request_id": record["request_id"], "prediction": prediction}


@app.post("/outcomes/{request_id}")  # added
def outcome(request_id: str, churned: int) -> None:  # added
    log.label(request_id, churned)  # added
