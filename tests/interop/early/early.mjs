// Uploads to each URL over HTTP/2, and prints what came: a status, or the error. Certificates are not looked at.
import http2 from 'node:http2';

const BODY = Buffer.alloc(5 << 20);

function upload(url) {
  const { origin, pathname } = new URL(url);
  return new Promise((resolve) => {
    const session = http2.connect(origin, { rejectUnauthorized: false });
    const fail = (error) => resolve(String(error));
    session.on('error', fail);
    const stream = session.request({ ':method': 'POST', ':path': pathname });
    let status;
    stream.on('error', fail);
    stream.on('response', (headers) => (status = headers[':status']));
    stream.on('data', () => {});
    stream.on('end', () => resolve(status));
    stream.on('close', () => session.close());
    stream.end(BODY);
  });
}

for (const url of process.argv.slice(2)) {
  console.log(`node http2\t${url}\t${await upload(url)}`);
}
