"""Loopback servers that speak the wire protocols of the model providers, watch their sockets and misbehave.

    with ThreadedServer(OpenAIServer(Script(fault=Stall(after=3)))) as server:
        ...                                    # a client process talks to server.url
        exchange = server.wait_request()
        server.wait_deltas(exchange, 3)
        ...                                    # stop the client
        server.wait_closed(exchange)           # raises TimeoutError when the client holds its socket

Nothing here imports a provider's library, and nothing outside tests imports this.
"""
