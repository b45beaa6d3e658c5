// Drives EvoLink's own MCP server as an assistant does: upload, order, ask until it is there.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const require = createRequire(`${process.cwd()}/`);
const from = (name) => import(pathToFileURL(require.resolve(name)));
const { Client } = await from('@modelcontextprotocol/sdk/client/index.js');
const { StdioClientTransport } = await from('@modelcontextprotocol/sdk/client/stdio.js');

const [preload, reference] = process.argv.slice(2);
const client = new Client({ name: 'test', version: '1' });
await client.connect(
  new StdioClientTransport({
    command: process.execPath,
    args: [
      '--import',
      pathToFileURL(preload).href,
      'node_modules/@evolinkai/evolink-media/dist/evolink-media/src/index.js',
    ],
    env: { ...process.env },
  }),
);

const ask = async (name, args) => {
  const answer = await client.callTool({ name, arguments: args });
  if (answer.isError) throw new Error(answer.content[0].text);
  return answer.content[0].text;
};
const found = (text, pattern) => {
  const match = text.match(pattern);
  if (!match) throw new Error(text);
  return match[1];
};

const uploaded = await ask('upload_file', { file_path: reference });
const link = found(uploaded, /^File URL: (\S+)/m);
const order = { model: 'gpt-image-1.5', prompt: 'drawn by npm', size: '1024x1024', image_urls: [link] };
const id = found(await ask('generate_image', order), /^Task ID: (\S+)/m);
let told = '';
while (!told.includes('Status: completed') && !told.includes('Status: failed')) {
  await new Promise((wake) => setTimeout(wake, 100));
  told = await ask('check_task', { task_id: id });
}
const picture = found(told, /^ *\[1\] (\S+)/m);
const listed = await ask('list_files', {});
console.log(JSON.stringify({ id, link, picture, listed }));
await client.close();
