// Search of the site opened from the disk: browsers start no worker there, so its script runs in a hidden frame.
// The theme's plugin `offline` would load such a script from another server (https://github.com/squidfunk/iframe-worker).
"use strict";
if (location.protocol === "file:") {
  const load = (...urls) => urls.reduce((before, url) => before.then(() => new Promise((done, fail) => {
    const script = document.createElement("script");
    Object.assign(script, { src: url, onload: done, onerror: fail });
    document.body.appendChild(script);
  })), Promise.resolve());
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.body.appendChild(Object.assign(document.createElement("iframe"), { hidden: true }));
      this.heard = event => {
        if (event.source === this.frame.contentWindow) {
          const message = new MessageEvent("message", { data: event.data });
          this.dispatchEvent(message);
          this.onmessage?.(message);
        }
      };
      addEventListener("message", this.heard);
      const inside = this.frame.contentDocument;
      inside.open();
      inside.write(`<body><script>postMessage = (data, target) => parent.postMessage(data, target || "*");
        importScripts = ${load}</script><script src="${url}"></script></body>`);
      inside.close();
      this.ready = new Promise(done => { this.frame.contentWindow.onload = done; });
    }
    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })));
    }
    terminate() {
      removeEventListener("message", this.heard);
      this.frame.remove();
    }
  };
}
