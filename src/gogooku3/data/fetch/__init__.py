"""Downloads raw data from an exchange or vendor and records when each value became known.

Never computes a feature.
"""
