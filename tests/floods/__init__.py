"""Floods on every port, judged by memory, by honest clients, and by what is kept."""
