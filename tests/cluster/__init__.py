"""docker-compose.cluster.yml as it is: three servers, PostgreSQL under Patroni, a balancer."""
