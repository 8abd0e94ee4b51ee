// Reads an update without any of our code: Node's built-in crypto only.
// Usage: node verify_update.mjs update.txt container-private-key.jwk root.pem
// Prints the claims and the pieces that another tool needs to check the signature itself.
import { readFileSync } from "node:fs";
import * as crypto from "node:crypto";

const [updateFile, keyFile, rootFile] = process.argv.slice(2);
const decode = (text) => Buffer.from(text, "base64url");
const refuse = (reason) => { console.error(reason); process.exit(1); };

const armoured = readFileSync(updateFile, "ascii").trim().split("\n");
if (armoured[0] !== "-----BEGIN WOPS UPDATE-----") refuse("label");
if (armoured.at(-1) !== "-----END WOPS UPDATE-----") refuse("end line");
const token = armoured.slice(1, -1).join("");

// RFC 7516, ECDH-ES (RFC 7518 §4.6) with A256GCM (§5.3).
const [protectedHeader, encryptedKey, nonce, ciphertext, tag] = token.split(".");
const header = JSON.parse(decode(protectedHeader));
if (header.alg !== "ECDH-ES" || header.enc !== "A256GCM" || encryptedKey !== "") refuse("encryption");
const privateKey = crypto.createPrivateKey({ key: JSON.parse(readFileSync(keyFile)), format: "jwk" });
const ephemeral = crypto.createPublicKey({ key: header.epk, format: "jwk" });
const shared = crypto.diffieHellman({ privateKey, publicKey: ephemeral });
const uint32 = (number) => { const bytes = Buffer.alloc(4); bytes.writeUInt32BE(number); return bytes; };
const lengthAndText = (text) => Buffer.concat([uint32(text.length), Buffer.from(text)]);
const info = Buffer.concat([lengthAndText("A256GCM"), lengthAndText(""), lengthAndText(""), uint32(256)]);
const contentKey = crypto.createHash("sha256").update(Buffer.concat([uint32(1), shared, info])).digest();
const decipher = crypto.createDecipheriv("aes-256-gcm", contentKey, decode(nonce));
decipher.setAAD(Buffer.from(protectedHeader));
decipher.setAuthTag(decode(tag));
const signed = Buffer.concat([decipher.update(decode(ciphertext)), decipher.final()]).toString("ascii");

// RFC 7515: the signature, by the certificate in x5c[0].
const [signedHeader, payload, signature] = signed.split(".");
const { alg, x5c } = JSON.parse(decode(signedHeader));
const [firm, ca] = x5c.map((text) => new crypto.X509Certificate(Buffer.from(text, "base64")));
const root = new crypto.X509Certificate(readFileSync(rootFile));
const message = Buffer.from(`${signedHeader}.${payload}`);
const holds = alg === "ES256"
  ? crypto.verify("sha256", message, { key: firm.publicKey, dsaEncoding: "ieee-p1363" }, decode(signature))
  : alg === "Ed25519" && crypto.verify(null, message, firm.publicKey, decode(signature));
if (!holds) refuse("signature");

// The chain, and the names that count.
if (!firm.verify(ca.publicKey) || !firm.checkIssued(ca)) refuse("firm certificate");
if (!ca.verify(root.publicKey) || !ca.checkIssued(root) || !ca.ca) refuse("instance CA certificate");
const claims = JSON.parse(decode(payload));
if (ca.subjectAltName !== `URI:urn:wops:instance:${claims.iss}`) refuse("instance");
if (firm.subjectAltName !== `URI:urn:wops:firm-code:${claims.firm_code}`) refuse("firm code");

console.log(JSON.stringify({
  claims, alg, firm: firm.toString(), ca: ca.toString(),
  message: message.toString("base64"), signature: decode(signature).toString("base64"),
}));
