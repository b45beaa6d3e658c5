// OpenAI's Node SDK, unmodified: pictures, edits, errors, a time-out with its retries.
import { createReadStream } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const require = createRequire(`${process.cwd()}/`);
const sdk = await import(pathToFileURL(require.resolve('openai')));
const OpenAI = sdk.default.default ?? sdk.default;

const [baseURL, apiKey, one, two] = process.argv.slice(2);
const model = 'gpt-image-1.5';
const client = new OpenAI({ baseURL, apiKey });
const told = {};

const size = (image) => Buffer.from(image.b64_json, 'base64').subarray(1, 4).toString();
const error = async (call) => {
  try {
    await call();
  } catch (e) {
    return [e.constructor.name, e.status, e.code, e.param, e.type, Boolean(e.requestID)];
  }
  return 'no error';
};

const made = await client.images.generate({ model, prompt: 'by node', n: 2, quality: 'low' });
told.generate = [made.data.map(size), made.quality, typeof made.created];
const linked = await client.images.generate({ model, prompt: 'by node', n: 2, quality: 'low', response_format: 'url' });
told.links = linked.data.map((image) => image.url);
const edited = await client.images.edit({ model, prompt: 'edited', image: createReadStream(one) });
told.edit = edited.data.map(size);
const merged = await client.images.edit({ model, prompt: 'merged', image: [createReadStream(one), createReadStream(two)] });
told.merged = merged.data.map(size);

told.size = await error(() => client.images.generate({ model, prompt: 'x', size: '512x512' }));
told.blocked = await error(() => client.images.generate({ model, prompt: 'x [sandbox:fail=content_policy_violation]' }));
const stranger = new OpenAI({ baseURL, apiKey: 'wrong' });
told.key = await error(() => stranger.images.generate({ model, prompt: 'x' }));
told.path = await error(() => client.files.list());

const hasty = new OpenAI({ baseURL, apiKey, timeout: 500, maxRetries: 4 });
const late = await hasty.images.generate({ model, prompt: 'slow [sandbox:delay=1.5]' });
told.late = late.data.map(size);
told.models = (await client.models.list()).data.map((listed) => listed.id);
console.log(JSON.stringify(told));
