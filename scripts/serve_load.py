#!/usr/bin/env python3
"""Many clients of one server at once: what fails, what it costs in memory, tokens a second with 8 clients against 1.

  serve_load.py [--program build/release/ockham-run] [--clients 64] [--seconds 60] [--rates-seconds 10] MODEL
                [-- OPTIONS OF SERVE]

Every client asks for completions and chats, whole and streamed, with some that are wrong and some that are left in the
middle. Fails where an answer is not what was asked for (429 is), where memory grows after the first third, where the
server does not end with exit code 0.
"""
import argparse
import collections
import http.client
import json
import random
import sys
import threading
import time

from served import Served


def ask(connection, path, body):
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    return connection.getresponse()


def tokens_per_second(served, clients, seconds, tokens):
    """Generated tokens a second, of clients that each ask again when they have their answer."""
    totals, end = [0] * clients, time.monotonic() + seconds

    def client(number):
        connection = http.client.HTTPConnection(served.host, served.port, timeout=120)
        asked = 0
        while time.monotonic() < end:
            asked += 1
            answer = ask(connection, "/v1/completions",
                         {"prompt": f"{number} {asked} once upon a time", "max_tokens": tokens, "temperature": 1,
                          "seed": asked})
            totals[number] += json.loads(answer.read())["usage"]["completion_tokens"]

    began = time.monotonic()
    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(totals) / (time.monotonic() - began)


class Load:
    def __init__(self, served, tokens):
        self.served, self.tokens = served, tokens
        self.lock = threading.Lock()
        self.statuses, self.problems = collections.Counter(), []
        self.latencies = []

    def note(self, status, problem=None):
        with self.lock:
            self.statuses[status] += 1
            if problem:
                self.problems.append(problem)

    def one(self, connection, chance):
        """One request of a random kind; the connection, or None where it was given up."""
        kind = chance.random()
        words = " ".join(chance.choices("who what the mayor river town is of a in".split(), k=chance.randrange(1, 40)))
        body = {"max_tokens": chance.randrange(1, self.tokens), "temperature": chance.choice([0, 1]),
                "seed": chance.randrange(100), "stream": chance.random() < 0.5}
        path = "/v1/completions"
        if kind < 0.4:
            body |= {"prompt": words}
        elif kind < 0.5:
            body |= {"prompt": words, "echo": True, "logprobs": 2, "stop": ["the"], "n": 2}
        elif kind < 0.9:
            path = "/v1/chat/completions"
            body |= {"messages": [{"role": "user", "content": words}]}
        else:
            body |= {"prompt": 5}
        began = time.monotonic()
        answer = ask(connection, path, body)
        if kind >= 0.9:
            answer.read()
            self.note(answer.status, None if answer.status in (400, 429) else f"a wrong request got {answer.status}")
            return connection
        if answer.status == 200 and body["stream"] and chance.random() < 0.15:
            answer.read(1)
            connection.close()
            self.note("left")
            return None
        text = answer.read()
        if answer.status == 429:
            self.note(429)
            time.sleep(min(1, float(answer.headers["Retry-After"])))
            return connection
        self.latencies.append(time.monotonic() - began)
        if answer.status != 200:
            self.note(answer.status, f"{answer.status}: {text[:200]!r}")
        elif body["stream"]:
            whole = text.endswith(b"data: [DONE]\n\n") and b'"error"' not in text
            self.note(200, None if whole else f"a stream ended with {text[-200:]!r}")
        else:
            self.note(200, None if "choices" in json.loads(text) else f"{text[:200]!r}")
        return connection

    def client(self, number, end):
        chance, connection = random.Random(number), None
        while time.monotonic() < end:
            try:
                connection = connection or http.client.HTTPConnection(self.served.host, self.served.port, timeout=120)
                connection = self.one(connection, chance)
            except Exception as error:
                self.note("failed", repr(error))
                connection = None

    def run(self, clients, seconds):
        end = time.monotonic() + seconds
        threads = [threading.Thread(target=self.client, args=(number, end)) for number in range(clients)]
        for thread in threads:
            thread.start()
        memory = []
        while time.monotonic() < end:
            time.sleep(seconds / 30)
            memory.append(self.served.resident_mib())
        for thread in threads:
            thread.join()
        return memory


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default="build/release/ockham-run")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rates-seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3, help="of the rates")
    parser.add_argument("--tokens", type=int, default=64, help="at most, of one answer")
    parser.add_argument("model")
    parser.add_argument("options", nargs="*")
    arguments = parser.parse_args()
    failures = []
    with Served(arguments.program, arguments.model, *arguments.options) as served:
        if arguments.rates_seconds > 0:
            tokens_per_second(served, 8, 1, arguments.tokens)
            rates = []
            for _ in range(arguments.rounds):  # by turns: the machine's rate moves
                alone, together = (tokens_per_second(served, clients, arguments.rates_seconds, arguments.tokens)
                                   for clients in (1, 8))
                rates.append((alone, together))
                print(f"tokens a second: 1 client {alone:.1f}, 8 clients {together:.1f}, ratio {together / alone:.2f}",
                      flush=True)
            alone, together = sorted(rates, key=lambda rate: rate[1] / rate[0])[len(rates) // 2]
            print(f"median ratio {together / alone:.2f}")
        if arguments.seconds > 0:
            load = Load(served, arguments.tokens)
            memory = load.run(arguments.clients, arguments.seconds)
            third = len(memory) // 3
            latencies = sorted(load.latencies)
            print(f"{arguments.clients} clients, {arguments.seconds:.0f} s: "
                  + ", ".join(f"{status}: {count}" for status, count in sorted(load.statuses.items(), key=str)))
            print(f"seconds an answer took: median {latencies[len(latencies) // 2]:.2f}, 99 % "
                  f"{latencies[len(latencies) * 99 // 100]:.2f}, longest {latencies[-1]:.2f}")
            print(f"resident memory: {memory[third]:.0f} MiB after a third, {memory[-1]:.0f} MiB at the end, at most "
                  f"{max(memory):.0f}")
            failures += load.problems[:10]
            if memory[-1] > 1.05 * max(memory[:third + 1]) + 16:
                failures.append("memory grows")
        code = served.stop()
        print(f"exit code {code}")
        if code != 0:
            failures.append("the server failed\n" + "".join(served.lines))
    for failure in failures:
        print(failure)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
