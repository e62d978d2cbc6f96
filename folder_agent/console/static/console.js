/* Keeps what is shown up to date. Old browsers, too: no syntax younger than ES5. Without it every page still works. */
(function () {
  "use strict";
  var main = document.getElementById("main"), lamp = document.getElementById("live");
  var EVERY = 3000, version = main ? parseInt(main.getAttribute("data-version"), 10) : 0, heardOf = version, loadedAt = Date.now(), timer = null, busy = false;
  if (!main || main.getAttribute("data-live") !== "yes") { return; }

  function say(on) {
    var text = lamp.getAttribute(on ? "data-on" : "data-off");
    if (lamp.textContent !== text) { lamp.textContent = text; }
  }

  function isTyping() {
    var at = document.activeElement;
    return !!at && main.contains(at) && /^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName);
  }

  function path(at) {
    var steps = [];
    for (; at && at !== main; at = at.parentNode) {
      if (!at.parentNode) { return null; }
      steps.unshift(Array.prototype.indexOf.call(at.parentNode.children, at));
    }
    return steps;
  }

  function focusAgain(id, href, steps) {
    var at = id ? document.getElementById(id) : null, links, n;
    if (!at && href) {
      links = main.getElementsByTagName("a");
      for (n = 0; n < links.length; n += 1) { if (links[n].getAttribute("href") === href) { at = links[n]; break; } }
    }
    if (!at && steps) { for (at = main, n = 0; at && n < steps.length; n += 1) { at = at.children[steps[n]]; } }
    if (at && at.focus) { at.focus(); }
  }

  function put(html) {
    var at = document.activeElement, inside = at && at !== main && main.contains(at);
    var id = inside && at.id, href = inside && at.getAttribute("href"), steps = inside ? path(at) : null;
    var top = window.pageYOffset, boxes = main.querySelectorAll(".scroll"), tops = [], n;
    for (n = 0; n < boxes.length; n += 1) { tops.push([boxes[n].scrollTop, boxes[n].scrollLeft]); }
    main.innerHTML = html;
    boxes = main.querySelectorAll(".scroll");
    for (n = 0; n < boxes.length && n < tops.length; n += 1) { boxes[n].scrollTop = tops[n][0]; boxes[n].scrollLeft = tops[n][1]; }
    if (inside) { focusAgain(id, href, steps); }
    window.scrollTo(window.pageXOffset, top);
  }

  function load() {
    var ask = new XMLHttpRequest();
    timer = null;
    if (busy || isTyping() || document.hidden) { soon(); return; }
    busy = true;
    ask.open("GET", window.location.pathname + window.location.search);
    ask.setRequestHeader("X-Fragment", "1");
    ask.timeout = 10000;
    ask.onloadend = function () {
      var end;
      busy = false;
      loadedAt = Date.now();
      if (ask.status === 200 && !isTyping() && ask.responseURL.indexOf("/login") < 0) {
        end = ask.responseText.indexOf("\n\n");
        version = parseInt(ask.responseText.slice(0, end), 10);
        put(ask.responseText.slice(end + 2));
        if (version !== heardOf) { soon(); }
      }
    };
    ask.send();
  }

  function soon() {
    if (timer === null) { timer = window.setTimeout(load, Math.max(400, EVERY - (Date.now() - loadedAt)) + Math.random() * 300); }
  }

  function progress(now) {
    var bars = main.querySelectorAll("progress[data-bundle]"), n, one, share;
    for (n = 0; n < bars.length; n += 1) {
      one = now[bars[n].getAttribute("data-bundle")];
      if (one) {
        bars[n].max = Math.max(1, one[1]);
        bars[n].value = one[0];
        share = main.querySelector('[data-share="' + bars[n].getAttribute("data-bundle") + '"]');
        if (share) { share.textContent = Math.floor(100 * one[0] / Math.max(1, one[1])) + " %"; }
      }
    }
  }

  function heard(text) {
    var now = JSON.parse(text), isNew = now.v !== version, bar;
    heardOf = now.v;
    progress(now.p);
    for (bar in now.p) { if (!main.querySelector('progress[data-bundle="' + bar + '"]')) { isNew = isNew || Date.now() - loadedAt > EVERY; } }
    if (isNew || /^\/(log|doctor|proof)$/.test(window.location.pathname)) { soon(); }
  }

  if (window.EventSource) {
    var source = new window.EventSource("/events");
    source.onopen = function () { say(true); };
    source.onerror = function () { say(false); };
    source.onmessage = function (event) { say(true); heard(event.data); };
    window.addEventListener("beforeunload", function () { source.close(); });
    window.setInterval(function () { if (Date.now() - loadedAt > 30000) { soon(); } }, 10000);
  } else {
    window.setInterval(soon, 5000);
  }
}());
