"""A wing for each task, with the same files in each.

`options` what can be said about inputs and samples; `types` what methods see and return; `metrics`;
then the steps that its methods share; `files` reading and writing; `drawing`; `task` the record of
it all.
"""
