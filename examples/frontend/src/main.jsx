import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

import { Plants } from './plants.jsx';
import './style.css';

createRoot(document.getElementById('root')).render(
  <StrictMode>
    <Plants />
  </StrictMode>,
);
