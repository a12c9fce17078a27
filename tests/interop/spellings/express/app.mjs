// One handler behind a path that is to be protected, and how often it was reached.
import express from "express";

const app = express();
let hits = 0;

app.get("/admin/secret", (request, response) => {
  hits += 1;
  response.send("secret");
});
app.get("/hits", (request, response) => response.send(String(hits)));

const server = app.listen(0, "127.0.0.1", () => console.log(`ready ${server.address().port}`));
