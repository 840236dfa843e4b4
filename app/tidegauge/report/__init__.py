"""Daily, weekly and any other reports on one model: `tidegauge report`, from the topics or from what `replay` wrote."""
