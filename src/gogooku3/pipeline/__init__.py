"""Turns a data set into a scored run folder: plan of fits, executor, input checks, resume, audit.

Contains no model code.
"""
