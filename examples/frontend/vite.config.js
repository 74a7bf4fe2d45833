import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

// Names of assets hold the digest of their content, so a release never changes what an older page asks for.
export default defineConfig({ plugins: [react()] });
