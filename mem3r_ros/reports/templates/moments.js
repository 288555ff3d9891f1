// One slider for the pictures, the place on the path and the camera in the map.
'use strict';
(() => {
  const slider = document.getElementById('moment');
  const show = () => {
    const moment = MOMENTS[slider.value];
    for (const name of ['image', 'depth', 'confidence', 'error']) {
      const picture = document.getElementById(`moment-${name}`);
      if (picture && moment[name]) picture.src = moment[name];
    }
    const place = document.getElementById('moment-place');
    place.setAttribute('cx', moment.x);
    place.setAttribute('cy', moment.y);
    document.getElementById('moment-time').textContent = moment.time;
    window.dispatchEvent(new CustomEvent('moment', { detail: moment.pose }));
  };
  slider.addEventListener('input', show);
  window.addEventListener('load', show);
})();
