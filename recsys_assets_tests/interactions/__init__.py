"""Tests of the interactions room."""
