// Turns the packed cloud with WebGL; without it the picture drawn beforehand stays.
'use strict';
(() => {
  const canvas = document.getElementById('cloud');
  const gl = canvas.getContext('webgl', { antialias: true });
  if (!gl) return;

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const steps = new Int16Array(bytes(CLOUD.points).buffer);
  const points = Float32Array.from(steps, (step) => step * CLOUD.step);
  const path = Float32Array.from(CLOUD.path);

  const compile = (type, source) => {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  };
  const program = gl.createProgram();
  compile(gl.VERTEX_SHADER, `
    attribute vec3 position; attribute vec3 colour;
    uniform mat4 view; uniform float size; varying vec3 shade;
    void main() {
      gl_Position = view * vec4(position, 1.0);
      gl_PointSize = clamp(size / gl_Position.w, 1.0, 6.0);
      shade = colour;
    }`);
  compile(gl.FRAGMENT_SHADER, `
    precision mediump float; varying vec3 shade;
    void main() { gl_FragColor = vec4(shade, 1.0); }`);
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return;
  gl.useProgram(program);
  gl.enable(gl.DEPTH_TEST);
  gl.clearColor(16 / 255, 20 / 255, 28 / 255, 1);

  const buffer = (data) => {
    const name = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, name);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    return name;
  };
  const pointBuffer = buffer(points);
  const colourBuffer = buffer(bytes(CLOUD.colours));
  const pathBuffer = buffer(path);
  const frusta = buffer(Float32Array.from(CLOUD.frusta));
  const position = gl.getAttribLocation(program, 'position');
  const colour = gl.getAttribLocation(program, 'colour');
  const view = gl.getUniformLocation(program, 'view');
  const size = gl.getUniformLocation(program, 'size');
  gl.enableVertexAttribArray(position);

  // The first view is that of the picture: from behind and above the start.
  const [x, y, z] = CLOUD.direction;
  const home = { yaw: Math.atan2(y, x), pitch: Math.atan2(z, Math.hypot(x, y)),
    distance: CLOUD.distance, target: [0, 0, 0] };
  let state = structuredClone(home);

  const basis = () => {
    const c = Math.cos(state.pitch), s = Math.sin(state.pitch);
    const forward = [-c * Math.cos(state.yaw), -c * Math.sin(state.yaw), -s];
    const right = [-Math.sin(state.yaw), Math.cos(state.yaw), 0];
    const up = [-s * Math.cos(state.yaw), -s * Math.sin(state.yaw), c];
    return { forward, right, up };
  };
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const matrix = () => {
    const { forward, right, up } = basis();
    const eye = state.target.map((value, axis) => value - state.distance * forward[axis]);
    const focal = 1 / CLOUD.view, aspect = canvas.width / canvas.height;
    const near = 0.01 * state.distance, far = state.distance + 12 * CLOUD.radius;
    const a = (far + near) / (far - near), b = -2 * far * near / (far - near);
    const result = [];
    for (let axis = 0; axis < 3; axis++) {
      result.push(focal / aspect * right[axis], focal * up[axis], a * forward[axis], forward[axis]);
    }
    const depth = -dot(forward, eye);
    result.push(-focal / aspect * dot(right, eye), -focal * dot(up, eye), a * depth + b, depth);
    return result;
  };

  const draw = () => {
    const ratio = window.devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = canvas.clientHeight * ratio;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.uniformMatrix4fv(view, false, matrix());
    gl.uniform1f(size, CLOUD.radius * canvas.height * 0.008);
    gl.bindBuffer(gl.ARRAY_BUFFER, pointBuffer);
    gl.vertexAttribPointer(position, 3, gl.FLOAT, false, 0, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, colourBuffer);
    gl.enableVertexAttribArray(colour);
    gl.vertexAttribPointer(colour, 3, gl.UNSIGNED_BYTE, true, 0, 0);
    gl.drawArrays(gl.POINTS, 0, CLOUD.count);
    gl.bindBuffer(gl.ARRAY_BUFFER, pathBuffer);
    gl.vertexAttribPointer(position, 3, gl.FLOAT, false, 0, 0);
    gl.disableVertexAttribArray(colour);
    gl.vertexAttrib3f(colour, 1.0, 0.83, 0.23);
    gl.uniform1f(size, CLOUD.radius * canvas.height * 0.012);
    gl.drawArrays(gl.POINTS, 0, path.length / 3);
    gl.bindBuffer(gl.ARRAY_BUFFER, frusta);
    gl.vertexAttribPointer(position, 3, gl.FLOAT, false, 0, 0);
    gl.vertexAttrib3f(colour, 0.55, 0.6, 0.65);
    gl.drawArrays(gl.LINES, 0, CLOUD.frusta.length / 3);
    if (!corners) return;
    gl.bindBuffer(gl.ARRAY_BUFFER, camera);
    gl.vertexAttribPointer(position, 3, gl.FLOAT, false, 0, 0);
    gl.vertexAttrib3f(colour, 1.0, 0.45, 0.1);
    gl.drawArrays(gl.LINES, 0, corners);
  };
  // The camera of the moment that the slider has chosen.
  const camera = gl.createBuffer();
  let corners = 0;
  window.addEventListener('moment', (event) => {
    const pose = event.detail, s = 0.08 * CLOUD.radius;
    const at = (x, y, z) => [0, 1, 2].map((row) => pose[4 * row] * x + pose[4 * row + 1] * y +
      pose[4 * row + 2] * z + pose[4 * row + 3] - CLOUD.centre[row]);
    const tip = at(0, 0, 0), edge = [[-s, -s], [s, -s], [s, s], [-s, s]].map(([x, y]) =>
      at(x, 0.75 * y, 1.2 * s));
    const lines = [];
    edge.forEach((corner, index) => lines.push(tip, corner, corner, edge[(index + 1) % 4]));
    gl.bindBuffer(gl.ARRAY_BUFFER, camera);
    gl.bufferData(gl.ARRAY_BUFFER, Float32Array.from(lines.flat()), gl.DYNAMIC_DRAW);
    corners = lines.length;
    redraw();
  });
  let waiting = false;
  const redraw = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  };

  let held = null;
  const fingers = new Map();
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return { gap: Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY),
      x: (a.clientX + b.clientX) / 2, y: (a.clientY + b.clientY) / 2 };
  };
  const move = (dx, dy) => {
    const { right, up } = basis();
    const metres = 1.2 * state.distance / canvas.clientHeight;
    state.target = state.target.map((value, axis) =>
      value + metres * (dy * up[axis] - dx * right[axis]));
  };
  canvas.addEventListener('pointerdown', (event) => {
    held = event;
    fingers.set(event.pointerId, event);
    canvas.setPointerCapture(event.pointerId);
  });
  for (const name of ['pointerup', 'pointercancel']) {
    canvas.addEventListener(name, (event) => { held = null; fingers.delete(event.pointerId); });
  }
  canvas.addEventListener('pointermove', (event) => {
    if (fingers.size === 2 && fingers.has(event.pointerId)) {
      // Two fingers: nearer or farther, and move.
      const before = spread();
      fingers.set(event.pointerId, event);
      const after = spread();
      state.distance *= before.gap / Math.max(after.gap, 1);
      move(after.x - before.x, after.y - before.y);
      redraw();
      return;
    }
    if (!held) return;
    const dx = event.clientX - held.clientX, dy = event.clientY - held.clientY;
    if (event.shiftKey || held.button === 2) {
      move(dx, dy);
    } else {
      state.yaw -= 0.006 * dx;
      state.pitch = Math.min(1.55, Math.max(-1.55, state.pitch + 0.006 * dy));
    }
    held = { clientX: event.clientX, clientY: event.clientY, button: held.button };
    redraw();
  });
  canvas.addEventListener('contextmenu', (event) => event.preventDefault());
  canvas.addEventListener('wheel', (event) => {
    event.preventDefault();
    state.distance *= Math.exp(0.001 * event.deltaY);
    redraw();
  }, { passive: false });
  canvas.addEventListener('dblclick', () => { state = structuredClone(home); redraw(); });
  window.addEventListener('resize', redraw);

  const above = document.getElementById('above');
  above.style.display = 'block';
  above.addEventListener('click', () => {
    state = { ...structuredClone(home), yaw: Math.PI, pitch: 1.55, distance: 1.3 * home.distance };
    redraw();
  });
  canvas.style.display = 'block';
  document.getElementById('hint').textContent =
    'drag: turn \u00b7 shift or two fingers: move \u00b7 wheel or pinch: nearer \u00b7 double click: back';
  draw();
})();
