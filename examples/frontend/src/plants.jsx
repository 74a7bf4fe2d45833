import { useState } from 'react';

import leaf from './leaf.svg?no-inline';

const PLANTS = [
  { name: 'Ada', kind: 'monstera', every: 7 },
  { name: 'Basil', kind: 'basil', every: 2 },
  { name: 'Fern', kind: 'maidenhair fern', every: 3 },
];

export function Plants() {
  const [watered, setWatered] = useState([]);
  const water = (name) => setWatered([...watered, name]);
  return (
    <main>
      <h1>
        <img src={leaf} alt="" /> Plants
      </h1>
      <ul>
        {PLANTS.map(({ name, kind, every }) => (
          <li key={name}>
            <b>{name}</b>, {kind}, every {every} days{' '}
            <button disabled={watered.includes(name)} onClick={() => water(name)}>
              {watered.includes(name) ? 'watered' : 'water'}
            </button>
          </li>
        ))}
      </ul>
      <p>{watered.length} of {PLANTS.length} watered today</p>
    </main>
  );
}
