"""The service of the tutorials: a model behind FastAPI that prints a line of JSON for each prediction."""

import json
import time
import uuid

from fastapi import FastAPI, Request

MODEL_VERSION = "churn:3"
app = FastAPI()


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
    print(json.dumps(record), flush=True)
    return {"request_id": record["request_id"], "prediction": prediction}
