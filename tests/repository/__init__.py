"""The repository as its files tell it: links, locks, licences, workflows, facts told twice."""
