// Browsers start no Worker from a file:// page, so the search would stay silent there. This stand-in
// runs the search's script in a hidden frame of the same page instead. It acts on file:// only.
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.onerror = this.onmessage = this.onmessageerror = null;
      this.waiting = [];
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.appendChild(frame);
      this.frame = frame;
      const inner = frame.contentWindow;
      inner.document.open();
      inner.document.write("<!doctype html><html><body></body></html>");
      inner.document.close();
      // What the script calls in a Worker.
      inner.postMessage = data => this.deliver(data);
      inner.importScripts = (...urls) => urls.reduce(
        (before, next) => before.then(() => this.load(new URL(next, url).href)), Promise.resolve());
      this.ready = this.load(url).then(() => {
        this.loaded = true;
        this.waiting.splice(0).forEach(data => this.send(data));
      });
    }
    load(url) {
      return new Promise((resolve, reject) => {
        const script = this.frame.contentDocument.createElement("script");
        script.src = url;
        script.onload = resolve;
        script.onerror = reject;
        this.frame.contentDocument.body.appendChild(script);
      });
    }
    deliver(data) {
      const event = new MessageEvent("message", {data});
      if (this.onmessage) this.onmessage(event);
      this.dispatchEvent(event);
    }
    send(data) {
      this.frame.contentWindow.dispatchEvent(new MessageEvent("message", {data}));
    }
    postMessage(data) {
      if (this.loaded) this.send(data);
      else this.waiting.push(data);
    }
    terminate() {
      this.frame.remove();
    }
  };
}
