"""Prices to a checked data set to the panel.

`targets` is the only module that looks ahead; nothing here fits or scores a model.
"""
