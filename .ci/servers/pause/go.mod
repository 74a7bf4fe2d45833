// Holds the namespaces of a pod, for the tests.
module ecolaura-deploy/servers/pause

go 1.21
