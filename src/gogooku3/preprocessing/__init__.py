"""Day-wise standardisation, labels and market state.
No statistic crosses days, except fallbacks fitted on training days."""
