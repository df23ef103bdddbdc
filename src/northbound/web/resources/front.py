"""The plain page at /: what this is and where things are, in both languages."""

FRONT = """<!doctype html>
<html lang="zh-Hans">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>northbound</title>
<style>
body { font: 16px/1.6 system-ui, "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif; margin: 2rem auto;
  max-width: 46rem; padding: 0 1rem; color-scheme: light dark }
code { background: rgba(127, 127, 127, .18); padding: .1em .3em }
</style>
</head>
<body>
<h1>northbound</h1>
<section>
<p>实时音视频房间的事件中枢：接收各家厂商的回调，先落盘再应答，再以任意一家的格式转发。</p>
<ul>
<li><a href="/api/v1/openapi.json">/api/v1/openapi.json</a>：全部接口的说明（OpenAPI 3.1）</li>
<li><code>/api/v1/…</code>：接口，请带上 <code>Authorization: Bearer nb_…</code>；
第一把密钥在数据目录的 <code>admin.key</code></li>
<li><a href="/healthz">/healthz</a>、<a href="/readyz">/readyz</a>、<a href="/metrics">/metrics</a>：
存活、就绪、指标</li>
<li><a href="/certs/callback.pem">/certs/callback.pem</a>：验证本机签名所用的证书</li>
</ul>
</section>
<section lang="en">
<p>The event hub for real-time audio/video rooms: vendors' callbacks in, on disk before they are answered, and out
again in any vendor's format.</p>
<ul>
<li><a href="/api/v1/openapi.json">/api/v1/openapi.json</a>: every call described (OpenAPI 3.1)</li>
<li><code>/api/v1/…</code>: the API, with <code>Authorization: Bearer nb_…</code>; the first key is in
<code>admin.key</code> in the data folder</li>
<li><a href="/healthz">/healthz</a>, <a href="/readyz">/readyz</a>, <a href="/metrics">/metrics</a>: alive, ready,
figures</li>
<li><a href="/certs/callback.pem">/certs/callback.pem</a>: the certificate that goes with this hub's signatures</li>
</ul>
</section>
</body>
</html>
""".encode()
