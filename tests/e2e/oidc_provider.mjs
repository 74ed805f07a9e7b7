// An authorization server that we did not write, on two TLS ports of loopback: one for everybody,
// one that asks for a client certificate (RFC 8705 5). Its configuration is one line of JSON on
// standard input; its first line on standard output is the issuer. It ends with standard input.
//
//   {"tls": {"key": PEM, "cert": PEM, "ca": PEM}, "clients": [client metadata of RFC 7591 ...],
//    "scopes": [...], "resources": {URL: {"scope": "...", "format": "jwt" or "opaque"}},
//    "account": "who logs in", "lifetime": seconds of an access token}

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:https';
import { createInterface } from 'node:readline';

import { Provider, errors } from 'oidc-provider';

const HOST = '127.0.0.1';

const input = createInterface({ input: process.stdin });
const [line] = await once(input, 'line');
input.on('close', () => process.exit(0));
const wanted = JSON.parse(line);

// The two ports are bound first: the issuer and the alias are made from them.
const everybody = createServer(wanted.tls);
const certified = createServer({ ...wanted.tls, requestCert: true, rejectUnauthorized: false });
const listen = async (server) => {
  await once(server.listen(0, HOST), 'listening');
  return `https://${HOST}:${server.address().port}`;
};
const [issuer, alias] = [await listen(everybody), await listen(certified)];

const signing = (kid, type, options, alg) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), kid, alg, use: 'sig',
});

const certificate = (ctx) => {
  const peer = ctx.socket.getPeerX509Certificate?.();
  return peer ?? undefined;
};

const provider = new Provider(issuer, {
  clients: wanted.clients,
  jwks: { keys: [signing('rsa', 'rsa', { modulusLength: 2048 }, 'RS256')] },
  cookies: { keys: ['a key of this run'] },
  scopes: wanted.scopes,
  discovery: { mtls_endpoint_aliases: { token_endpoint: `${alias}/token` } },
  pkce: { required: () => true },
  ttl: { AccessToken: wanted.lifetime, ClientCredentials: wanted.lifetime },
  findAccount: (ctx, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  rotateRefreshToken: true,
  issueRefreshToken: (ctx, client) => client.grantTypeAllowed('refresh_token'),
  expiresWithSession: () => false,
  clientAuthMethods: [
    'client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt',
    'tls_client_auth', 'self_signed_tls_client_auth', 'none',
  ],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    // who sends a proof of possession (RFC 9449) must have a nonce of ours in it
    dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => true },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      tlsClientAuth: true,
      selfSignedTlsClientAuth: true,
      getCertificate: certificate,
      certificateAuthorized: (ctx) => ctx.socket.authorized,
      certificateSubjectMatches: (ctx, property, expected) => (
        property === 'tls_client_auth_subject_dn' && certificate(ctx).subject === expected
      ),
    },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx, resource) => {
        const known = wanted.resources[resource];
        if (!known) throw new errors.InvalidTarget();
        return {
          scope: known.scope,
          audience: resource,
          accessTokenTTL: wanted.lifetime,
          accessTokenFormat: known.format,
          ...(known.format === 'jwt' && { jwt: { sign: { alg: 'RS256' } } }),
        };
      },
    },
  },
});

// Whoever comes to log in is the one account, and consents to all that is asked for.
const consent = async ({ grantId, session, params, prompt: { details } }) => {
  const grant = grantId ? await provider.Grant.find(grantId)
    : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope((details.missingOIDCScope ?? []).join(' '));
  for (const [resource, scopes] of Object.entries(details.missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, scopes.join(' '));
  }
  return { consent: { grantId: await grant.save() } };
};
provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith('/interaction/')) return next();
  const asked = await provider.interactionDetails(ctx.req, ctx.res);
  const result = asked.prompt.name === 'login'
    ? { login: { accountId: wanted.account } } : await consent(asked);
  ctx.redirect(await provider.interactionResult(ctx.req, ctx.res, result));
  return undefined;
});
provider.on('server_error', (ctx, error) => console.error(error));

for (const server of [everybody, certified]) server.on('request', provider.callback());
console.log(JSON.stringify({ issuer, alias: `${alias}/token` }));
