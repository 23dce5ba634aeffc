module example.org/caller

go 1.26.0

require gatehouse.dev/client v0.1.0
