"""How a release moves: analysis, phases, route, ledger, tick, guard. Here: nothing but this line."""
