// The events of the backend's stream, as their data; the address and path come from the command line.
import http from "node:http";

export function readEvents(deliver) {
  const [address, path] = process.argv.slice(2);
  http.get(`http://${address}${path}`, (answer) => {
    let rest = "";
    answer.setEncoding("utf8");
    answer.on("data", (chunk) => {
      const events = (rest + chunk).split("\n\n");
      rest = events.pop();
      for (const event of events) {
        const line = event.split("\n").find((line) => line.startsWith("data: "));
        if (line) deliver(line.slice(6));
      }
    });
    answer.on("end", () => process.exit(1));
  });
}

// As many connections may wait to be accepted as the kernel allows: the same for every server that is compared.
export const LISTEN = { host: "127.0.0.1", port: 0, backlog: 4096 };
