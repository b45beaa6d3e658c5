// Preloaded with `node --import`: EvoLink's hosts in its client's source become the gateway.
import { register } from 'node:module';

const hooks = `
const gateway = ${JSON.stringify(process.env.GATEWAY)};
export async function load(url, context, next) {
  const loaded = await next(url, context);
  if (!url.includes('/@evolinkai/evolink-media/') || loaded.source == null) return loaded;
  const text = Buffer.from(loaded.source).toString();
  return { ...loaded, source: text.replace(/https:\\/\\/(files-)?api\\.evolink\\.ai/g, gateway) };
}
`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);
