// The order as a program would send it. The key is never in it: it is read from the environment.

/** [[name, text], …] for the order at this gateway. */
export function snippets(body, publicUrl) {
  return [["curl", curl(body, publicUrl)], ["Python", python(body, publicUrl)], ["JavaScript", javaScript(body, publicUrl)], ["OpenAI SDK", openAi(body, publicUrl)]];
}

const pretty = (value) => JSON.stringify(value, null, 2);

export function curl(body, url) {
  const quoted = pretty(body).replaceAll("'", "'\\''");
  return `curl ${url}/v1/images/generations \\
  -H "Authorization: Bearer $GATEWAY_KEY" \\
  -H "Content-Type: application/json" \\
  -H "Prefer: wait=55" \\
  -d '${quoted}'`;
}

function python(body, url) {
  return `import json
import os
import urllib.request

order = ${literal(body)}
request = urllib.request.Request(
    ${literal(`${url}/v1/images/generations`)},
    data=json.dumps(order).encode(),
    headers={
        "Authorization": f"Bearer {os.environ['GATEWAY_KEY']}",
        "Content-Type": "application/json",
        "Prefer": "wait=55",
    },
)
with urllib.request.urlopen(request) as answer:
    task = json.load(answer)
print(task["status"], *task.get("results", []))`;
}

function javaScript(body, url) {
  return `const answer = await fetch(${pretty(`${url}/v1/images/generations`)}, {
  method: "POST",
  headers: {
    Authorization: \`Bearer \${process.env.GATEWAY_KEY}\`,
    "Content-Type": "application/json",
    Prefer: "wait=55",
  },
  body: JSON.stringify(${indented(pretty(body), 2)}),
});
const task = await answer.json();
console.log(task.status, ...(task.results ?? []));`;
}

function openAi({ image_urls: links, ...order }, url) {
  const known = Object.entries(order).map(([name, value]) => `    ${name}=${literal(value)},`);
  const more = links ? [`    extra_body={"image_urls": ${indented(literal(links), 4)}},`] : [];
  return `import os

from openai import OpenAI

client = OpenAI(base_url=${literal(`${url}/openai/v1`)}, api_key=os.environ["GATEWAY_KEY"])
made = client.images.generate(
${[...known, '    response_format="url",', ...more].join("\n")}
)
print(*(picture.url for picture in made.data))`;
}

/** Texts, whole numbers and lists of them are written alike in JSON and Python. */
const literal = (value) => JSON.stringify(value, null, 4);
const indented = (text, by) => text.replaceAll("\n", `\n${" ".repeat(by)}`);
